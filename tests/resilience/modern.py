"""A client of revision 2026-07-28: a POST that is cut is sent again, and questions come in the result."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

from tests.resilience.client import ATTEMPTS, RETRY_S, next_number
from tests.resilience.tally import Tally
from tests.resilience.wire import Cut, send

VERSION = "2026-07-28"
_PREFIX = "io.modelcontextprotocol/"


class ModernClient:
    """A client without a session."""

    def __init__(self, tally: Tally, port: int, key: str, *, may_be_cut: bool) -> None:
        self._tally = tally
        self._port = port
        self._may_be_cut = may_be_cut
        self._headers = {
            "authorization": f"Bearer {key}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "mcp-protocol-version": VERSION,
            "mcp-method": "tools/call",
        }

    async def call(self, tool: str) -> None:
        """Call a tool until it answers, and answer what it asks."""
        number = next_number()
        self._tally.counts["calls"] += 1
        more: dict[str, Any] = {}
        token = f"{number}.m"  # the same for all rounds: what was asked is bound to the arguments
        for attempt in range(ATTEMPTS):
            try:
                result = await self._post(tool, number, f"{number}.{attempt}", token, more)
            except Cut as e:
                self._tally.repeatable.add(token)
                self._tally.counts["cuts"] += 1
                self._tally.counts["repeated"] += 1
                if not self._may_be_cut:
                    self._tally.problems.append(f"cut: modern {tool} {e}")
                await asyncio.sleep(RETRY_S)
                continue
            if result.get("resultType") != "input_required":
                self._check(tool, number, token, result, asked=bool(more))
                return
            self._tally.counts["questions"] += 1
            await asyncio.sleep(random.uniform(0.1, 1))
            answer = {"action": "accept", "content": {"word": f"word {number}"}}
            more = {"inputResponses": dict.fromkeys(result["inputRequests"], answer)}
            if "requestState" in result:
                more["requestState"] = result["requestState"]
        self._tally.problems.append(f"modern {tool} {number} never succeeded")

    async def listen(self) -> None:
        """Hold `subscriptions/listen` for ever, anew whenever it ends."""
        while True:
            request_id = f"listen {next_number()}"
            meta: dict[str, Any] = {
                _PREFIX + "protocolVersion": VERSION,
                _PREFIX + "clientCapabilities": {},
            }
            params: dict[str, Any] = {"notifications": {"toolsListChanged": True}, "_meta": meta}
            message = {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen", "params": params}
            headers = {**self._headers, "mcp-method": "subscriptions/listen"}
            self._tally.counts["requests"] += 1
            seen: list[dict[str, Any]] = []
            try:
                async with send(self._port, "POST", "/mcp", headers, json.dumps(message).encode()) as response:
                    async for event in response.events():
                        seen.append(json.loads(event.data))
            except Cut as e:
                self._tally.counts["cuts"] += 1
                if not self._may_be_cut:
                    self._tally.problems.append(f"cut: modern listener {e}")
            else:
                self._tally.counts["streams closed"] += 1
                if "result" not in seen[-1] or seen[-1]["id"] != request_id:
                    self._tally.problems.append(f"a modern listener ended with {seen[-1]}")
            if seen and seen[0].get("method") != "notifications/subscriptions/acknowledged":
                self._tally.problems.append(f"a modern listener began with {seen[0]}")
            await asyncio.sleep(RETRY_S)

    def _check(self, tool: str, number: int, token: str, result: dict[str, Any], *, asked: bool) -> None:
        found = result.get("structuredContent")
        if found != {"n": number, "token": token, "word": f"word {number}" if asked else ""}:
            self._tally.problems.append(f"modern {tool} {token} was answered with {result}")
        self._tally.answered.add(token)

    async def _post(self, tool: str, number: int, request_id: str, token: str, more: dict[str, Any]) -> dict[str, Any]:
        """The result of one attempt.

        Raises:
            Cut
        """
        meta: dict[str, Any] = {
            _PREFIX + "protocolVersion": VERSION,
            _PREFIX + "clientCapabilities": {"elicitation": {}},
            "progressToken": request_id,
        }
        params: dict[str, Any] = {"name": tool, "arguments": {"n": number, "token": token}, "_meta": meta, **more}
        body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}).encode()
        self._tally.counts["requests"] += 1
        since = time.monotonic()
        finals: list[dict[str, Any]] = []
        async with send(self._port, "POST", "/mcp", {**self._headers, "mcp-name": tool}, body) as response:
            if response.streams:
                async for event in response.events():
                    since = self._tally.waited(since, f"modern {tool} {request_id}")
                    if event.data.strip() and "method" not in (message := json.loads(event.data)):
                        finals.append(message)
            else:
                finals.append(json.loads(await response.body()))
                self._tally.waited(since, f"modern {tool} {request_id}")
        self._tally.finals[request_id] += len(finals)
        if len(finals) != 1 or finals[0].get("id") != request_id or "result" not in finals[0]:
            self._tally.problems.append(f"modern {tool} {request_id} got {response.status} {finals}")
            return {}
        return finals[0]["result"]
