"""A client of an ASGI app in the same event loop: it sees bytes and events as they come; it can leave, stall or dawdle.

It knows HTTP and server-sent events, and nothing of MCP.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

DEADLINE_S = 10
"""Nothing in these tests takes longer; whoever waits for more has found a hang."""

Headers = Sequence[tuple[str, str]]


def strict_json(text: str | bytes) -> Any:
    """JSON of RFC 8259: NaN and Infinity are none."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@dataclass(frozen=True)
class Event:
    """One server-sent event, or a comment."""

    id: str | None = None
    kind: str = "message"
    data: str = ""
    retry_ms: int | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return strict_json(self.body)


class Call:
    """One request under way. Made inside a running event loop; `kill` or the end of the response ends its task."""

    def __init__(
        self, app: ASGIApp, method: str, path: str, headers: Headers, chunks: Sequence[bytes], *, whole: bool = True
    ) -> None:
        self.last_id = ""
        """The id of the last event that had one."""
        path, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.reads = 0
        """How often the app asked for a part of the body."""
        self._chunks = list(chunks)
        self._whole = whole
        self._left = False
        self._buffer = b""
        self._changed = asyncio.Condition()
        self._reading = asyncio.Event()
        self._reading.set()
        self.task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)

    # -- the app's side -------------------------------------------------------------------------------------------

    async def _receive(self) -> Message:
        self.reads += 1
        if self._chunks and not self._left:
            chunk = self._chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks) or not self._whole}
        async with self._changed:
            await self._changed.wait_for(lambda: self._left)
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self._reading.wait()
        async with self._changed:
            if self.ended:
                raise AssertionError(f"{message['type']} follows the end of the response")
            if message["type"] == "http.response.start":
                assert not self.status, "the response starts twice"
                self.status = message["status"]
                self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in message["headers"]}
                if self.status != 204:
                    assert len(self.headers) == len(message["headers"]), "a header of the response appears twice"
            else:
                assert self.status, "the body comes before the status"
                if not self._left:
                    self._buffer += message.get("body", b"")
                self.ended = not message.get("more_body", False)
            self._changed.notify_all()

    # -- the client's side ----------------------------------------------------------------------------------------

    async def disconnect(self) -> None:
        """Close the connection; the app is told when it asks."""
        async with self._changed:
            self._left = True
            self._changed.notify_all()

    def stall(self) -> None:
        """Read no more: the app's next send waits."""
        self._reading.clear()

    def read_on(self) -> None:
        """Read again."""
        self._reading.set()

    async def kill(self) -> None:
        """End the app's work on this request where it stands."""
        self.task.cancel()
        done, _ = await asyncio.wait({self.task}, timeout=DEADLINE_S)
        assert done, "the app does not let go of a cancelled request"

    async def start(self) -> Call:
        """Wait for the status and the headers."""
        await self._until(lambda: bool(self.status))
        return self

    async def whole(self) -> Answer:
        """Wait for the end of the response and of the app's work on it."""
        await self._until(lambda: self.ended)
        await self.gone()
        return Answer(self.status, self.headers, self._buffer)

    async def gone(self) -> None:
        """Wait until the app has nothing left to do for this request."""
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({self.task})
        if not self.task.cancelled():
            self.task.result()

    async def event(self, *, comments: bool = False) -> Event | None:
        """The next event, or None when the stream has ended."""
        while True:
            await self._until(lambda: b"\n\n" in self._buffer or self.ended)
            assert self.headers.get("content-type") == "text/event-stream", (self.status, self.headers, self._buffer)
            if b"\n\n" not in self._buffer:
                assert not self._buffer, f"the stream ends within an event: {self._buffer!r}"
                return None
            block, _, self._buffer = self._buffer.partition(b"\n\n")
            event = _parsed(block.decode())
            self.last_id = event.id or self.last_id
            if comments or event.comment is None:
                return event

    async def message(self) -> Any:
        """The next event's JSON; events without data are passed over. None when the stream has ended."""
        while (event := await self.event()) is not None:
            if event.data:
                return strict_json(event.data)
        return None

    async def rest(self) -> list[Event]:
        """The events up to the end of the stream."""
        events: list[Event] = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events

    async def messages(self) -> list[Any]:
        """The JSON of the events up to the end of the stream."""
        return [strict_json(event.data) for event in await self.rest() if event.data]

    async def _until(self, reached: Any) -> None:
        def so() -> bool:
            return reached() or self.task.done()

        async with asyncio.timeout(DEADLINE_S):
            async with self._changed:
                self.task.add_done_callback(self._wake)
                await self._changed.wait_for(so)
        if not reached():
            if not self.task.cancelled():
                self.task.result()
            raise AssertionError(f"the app stopped without an answer (status {self.status}, {self._buffer!r})")

    def _wake(self, _: asyncio.Task[None]) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._waker = asyncio.ensure_future(notify())


def _parsed(block: str) -> Event:
    fields: dict[str, str] = {}
    lines: list[str] = []
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            lines.append(value)
        else:
            assert name in ("", "id", "event", "retry"), f"no field of an event: {line!r}"
            fields[name] = value
    return Event(
        id=fields.get("id"),
        kind=fields.get("event", "message"),
        data="\n".join(lines),
        retry_ms=int(fields["retry"]) if "retry" in fields else None,
        comment=fields.get(""),
    )
