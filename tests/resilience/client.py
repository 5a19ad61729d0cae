"""A client of one session that knows what it sent: every answer must be its own, once, and soon.

It does what today's clients do: it repeats a request that was cut before an event id reached it, and resumes by GET
with `Last-Event-ID` one that was cut later. It answers questions after a random delay.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from typing import Any

from tests.resilience.tally import Tally
from tests.resilience.wire import Cut, Response, send

VERSION = "2025-11-25"
ATTEMPTS = 20
RETRY_S = 0.1
RESUME_S = 0.5
"""What the server's `retry` field asks for."""

_numbers = itertools.count(1)


def next_number() -> int:
    """A number that no other call of this process has."""
    return next(_numbers)


class Refused(Exception):
    """The server answered with an error. `data` is the error's."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.data: dict[str, Any] = error.get("data") or {}


class Client:
    """One client: its session, its calls, its answers."""

    def __init__(self, tally: Tally, port: int, key: str, *, may_be_cut: bool, version: str = VERSION) -> None:
        """Where `may_be_cut` is False, a connection that breaks is a problem of its own."""
        self.tally = tally
        self.port = port
        self.may_be_cut = may_be_cut
        self.thinks_s = (0.1, 2.0)
        self.may_answer = asyncio.Event()
        """No question is answered before this is set."""
        self.may_answer.set()
        self.asked = asyncio.Event()
        """Set by the first question."""
        self.version = version
        self._headers = {
            "authorization": f"Bearer {key}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
        }

    async def open(self) -> None:
        """Initialize, again and again until it succeeds."""
        params: dict[str, Any] = {
            "protocolVersion": self.version,
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "resilience", "version": "1"},
        }
        for _ in range(ATTEMPTS):
            number = next(_numbers)
            message = {"jsonrpc": "2.0", "id": number, "method": "initialize", "params": params}
            since = time.monotonic()
            try:
                async with self.post(message) as response:
                    body = await response.body()
            except Cut as e:
                await self.cut(f"initialize {e}")
                continue
            self.tally.waited(since, "initialize")
            if response.status != 200 or json.loads(body).get("id") != number:
                self.tally.problems.append(f"initialize: {response.status} {body!r}")
                continue
            self._headers["mcp-session-id"] = response.headers["mcp-session-id"]
            self._headers["mcp-protocol-version"] = self.version
            return
        self.tally.problems.append("initialize never succeeded")

    @property
    def session_id(self) -> str:
        """The id of the open session."""
        return self._headers["mcp-session-id"]

    def rejoin(self, session_id: str) -> None:
        """Go on with a session that was opened before."""
        self._headers["mcp-session-id"] = session_id
        self._headers["mcp-protocol-version"] = self.version

    async def close(self) -> int:
        """DELETE the session; the status."""
        for _ in range(ATTEMPTS):
            try:
                async with self.request("DELETE") as response:
                    await response.body()
                    return response.status
            except Cut as e:
                await self.cut(f"DELETE {e}")
        return 0

    async def call(self, tool: str, *, leave_after: int = 0, again: bool = False) -> dict[str, Any]:
        """Call a tool until it answers. `leave_after` messages the client cuts its own connection once; `again` says
        that the server may run the tool again by itself."""
        number = next(_numbers)
        began = time.monotonic()
        self.tally.counts["calls"] += 1
        for attempt in range(ATTEMPTS):
            token = f"{number}.{attempt}"
            if again:
                self.tally.repeatable.add(token)
            running = Attempt(self, tool, number, token, leave_after=leave_after)
            try:
                result = await running.run()
            except Cut as e:
                self.tally.counts["repeated"] += 1
                await self.cut(f"{tool} {e}")
            except Refused as e:
                self.tally.counts["interrupted"] += 1
                if again or not self.may_be_cut or e.data.get("interrupted") is not True:
                    self.tally.problems.append(f"{tool} {token} was refused: {e}")
                    await asyncio.sleep(RETRY_S)
            else:
                self.tally.answered.add(token)
                self.tally.longest_call_s = max(self.tally.longest_call_s, time.monotonic() - began)
                return result
        self.tally.problems.append(f"{tool} {number} never succeeded")
        return {}

    async def answer(self, question: str, content: dict[str, Any]) -> None:
        """Answer a question until the answer is acknowledged."""
        message = {"jsonrpc": "2.0", "id": question, "result": {"action": "accept", "content": content}}
        for _ in range(ATTEMPTS):
            try:
                async with self.post(message) as response:
                    body = await response.body()
            except Cut as e:
                await self.cut(f"an answer {e}")
                continue
            if response.status != 202:
                self.tally.problems.append(f"an answer got {response.status} {body!r}")
            return
        self.tally.problems.append("an answer was never acknowledged")

    async def cut(self, what: str) -> None:
        """A connection broke: note it, and pause before the next attempt."""
        self.tally.counts["cuts"] += 1
        if not self.may_be_cut:
            self.tally.problems.append(f"cut: {what}")
        await asyncio.sleep(RETRY_S)

    def post(self, message: dict[str, Any]) -> Any:
        """POST one message of this session."""
        return self.request("POST", body=json.dumps(message).encode())

    def request(self, method: str, *, body: bytes = b"", last_event_id: str = "") -> Any:
        """One HTTP request of this session."""
        self.tally.counts["requests"] += 1
        extra = {"last-event-id": last_event_id} if last_event_id else {}
        return send(self.port, method, "/mcp", {**self._headers, **extra}, body)

    async def listen(self, heard: list[str], changed: asyncio.Condition) -> None:
        """Hold the standalone stream for ever, resuming it whenever it ends; event ids go to `heard`."""
        last = ""
        while True:
            try:
                async with self.request("GET", last_event_id=last) as response:
                    if response.status != 200:
                        self.tally.problems.append(f"listener: {response.status} {await response.body()!r}")
                        await asyncio.sleep(RESUME_S)
                        continue
                    async for event in response.events():
                        last = event.id or last
                        if event.data.strip():
                            if event.id in heard:
                                self.tally.problems.append(f"listener: {event.id} came twice")
                            async with changed:
                                heard.append(event.id)
                                changed.notify_all()
                self.tally.counts["streams closed"] += 1
            except Cut as e:
                await self.cut(f"listener {e}")
            await asyncio.sleep(RETRY_S)


class Attempt:
    """One request id from its POST to its final response."""

    def __init__(self, client: Client, tool: str, number: int, token: str, *, leave_after: int = 0) -> None:
        self._client = client
        self._tally = client.tally
        self._tool = tool
        self._number = number
        self._token = token
        self._leave_after = leave_after
        self._last = ""
        self._seen: set[str] = set()
        self._told_retry = False
        self._final: dict[str, Any] | None = None
        self._heard = time.monotonic()
        self._asked: set[str] = set()
        self._thinking: set[asyncio.Task[None]] = set()

    @property
    def message(self) -> dict[str, Any]:
        """The request."""
        arguments = {"n": self._number, "token": self._token}
        params = {"name": self._tool, "arguments": arguments, "_meta": {"progressToken": self._token}}
        return {"jsonrpc": "2.0", "id": self._token, "method": "tools/call", "params": params}

    async def run(self) -> dict[str, Any]:
        """The tool's structured result.

        Raises:
            Cut: before an event id had come.
            Refused
        """
        try:
            async with self._client.post(self.message) as response:
                await self._read(response)
        except Cut as e:
            if not self._last:
                raise
            await self._client.cut(f"{self._tool} after {self._last}: {e}")
        return await self.go_on(self._last)

    async def go_on(self, last: str) -> dict[str, Any]:
        """The structured result of a call whose event `last` was the last one seen.

        Raises:
            Refused
        """
        self._last = last
        while self._final is None:
            await self._resume()
        return self._checked(self._final)

    async def _resume(self) -> None:
        if not self._last:
            self._tally.problems.append(f"{self._tool} {self._token}: the stream ended without an event id")
            raise Cut("nothing to resume")
        self._tally.counts["resumed"] += 1
        await asyncio.sleep(RESUME_S)
        try:
            async with self._client.request("GET", last_event_id=self._last) as response:
                if response.status == 200:
                    await self._read(response)
                    return
                self._tally.problems.append(f"resume of {self._tool} {self._last}: {response.status}")
                raise Refused(json.loads(await response.body()).get("error") or {})
        except Cut as e:
            await self._client.cut(f"resume of {self._tool} {self._last}: {e}")

    async def _read(self, response: Response) -> None:
        """Take what comes until the response ends."""
        if not response.streams:
            body = await response.body()
            if response.status != 200:
                self._tally.problems.append(f"{self._tool} {self._token}: {response.status} {body!r}")
            self._take(json.loads(body))
            return
        messages, self._told_retry = 0, False
        async for event in response.events():
            self._told_retry = event.retry
            if event.id and event.data.strip():
                if event.id in self._seen:
                    self._tally.problems.append(f"{self._tool} {self._token}: event {event.id} came twice")
                self._seen.add(event.id)
            self._last = event.id or self._last
            if event.data.strip():
                self._take(json.loads(event.data))
                messages += 1
            if messages and messages == self._leave_after and self._final is None:
                self._leave_after = 0
                self._tally.counts["left"] += 1
                return  # the context closes the connection
        if self._final is None:
            self._tally.counts["streams closed"] += 1
            if not self._told_retry:
                self._tally.problems.append(f"{self._tool} {self._token}: the stream closed early without `retry`")

    def _take(self, message: dict[str, Any]) -> None:
        what = f"{self._tool} {self._token}"
        self._heard = self._tally.waited(self._heard, f"{what} {message.get('method', 'final')}")
        if self._final is not None:
            self._tally.problems.append(f"{what}: {message} followed the final response")
        if "method" not in message:
            self._tally.finals[self._token] += 1
            self._final = message
        elif "id" in message:
            self._think(message)
        elif message["params"].get("progressToken") != self._token or message["params"]["message"] != str(self._number):
            self._tally.problems.append(f"{what}: {message} is another call's")

    def _think(self, question: dict[str, Any]) -> None:
        if question["params"]["message"] != f"A word for {self._number}?":
            self._tally.problems.append(f"{self._token}: {question} is another call's question")
        if question["id"] in self._asked:
            self._tally.problems.append(f"{self._token}: {question['id']} was asked twice")
        self._asked.add(question["id"])
        self._tally.counts["questions"] += 1
        self._client.asked.set()
        task = asyncio.create_task(self._answer(question["id"]))
        self._thinking.add(task)
        task.add_done_callback(self._thinking.discard)

    async def _answer(self, question: str) -> None:
        await asyncio.sleep(random.uniform(*self._client.thinks_s))
        await self._client.may_answer.wait()
        await self._client.answer(question, {"word": f"word {self._number}"})
        self._heard = time.monotonic()  # from now on it is the server who is waited for

    def _checked(self, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("id") != self._token:
            self._tally.problems.append(f"{self._token} was answered with {message}")
        if "error" in message:
            raise Refused(message["error"])
        found: dict[str, Any] = message["result"].get("structuredContent") or {}
        word = f"word {self._number}" if self._asked else ""
        if found != {"n": self._number, "token": self._token, "word": word}:
            self._tally.problems.append(f"{self._tool} {self._token} was answered with {message}")
        return found
