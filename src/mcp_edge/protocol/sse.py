"""Server-sent events (WHATWG HTML §9.2) over ASGI: frames, and a writer that notices a reader who leaves or stalls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from mcp_edge.protocol.request import TAKEN, Header, Request

STALL_S = 10
"""Seconds in which a reader must read something of what waits."""
RETRY_MS = 500
KEEPALIVE = b": keep-alive\n\n"

_HEADERS: list[Header] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


def frame(data: bytes, event_id: str | None = None) -> bytes:
    """A `message` event. `data` is JSON on one line."""
    if event_id is None:
        return b"event: message\ndata: " + data + b"\n\n"
    return b"event: message\nid: " + event_id.encode() + b"\ndata: " + data + b"\n\n"


def priming(event_id: str) -> bytes:
    """An event without data, which tells the client from where to resume (MCP 2025-11-25 transports)."""
    return f"id: {event_id}\nretry: {RETRY_MS}\ndata: \n\n".encode()


def retry() -> bytes:
    """The field `retry`, sent before an early end: the client comes back after `RETRY_MS`."""
    return f"retry: {RETRY_MS}\n\n".encode()


class Writer:
    """The sending end of one event stream. Once nobody reads (`detached`), the writer drops what is sent."""

    __slots__ = ("_clock", "detached", "last_sent", "lock", "request", "started")

    def __init__(self, request: Request, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives epoch seconds; a stream has one."""
        self.request = request
        self._clock = clock
        self.started = False
        self.detached = False
        self.last_sent = 0.0
        self.lock = asyncio.Lock()
        """Hold the lock over append and send, so the log and the wire have the same order."""

    async def start(self, headers: Sequence[Header] = ()) -> None:
        """Send the status and the headers, at the first call only."""
        if not self.started:
            self.started = self.request.begun = True
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *headers, *self.request.extra]}
            )

    async def send(self, data: bytes) -> None:
        """Send frames."""
        if not self.detached:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last frames, and end the response. Nobody reads from then on."""
        if not self.detached:
            self.request.ended = True
            await self._send({"type": "http.response.body", "body": data, "more_body": False})
            self.detached = True

    async def keep_alive(self, every_s: float) -> None:
        """Send a comment if nothing was sent for `every_s` seconds."""
        if self.started and not 0 <= self._clock() - self.last_sent < every_s and not self.lock.locked():
            await self.send(KEEPALIVE)

    async def _send(self, message: dict[str, object]) -> None:
        try:
            while True:
                taken = self._taken()
                try:
                    async with asyncio.timeout(STALL_S):
                        await self.request.send(message)
                    break
                except TimeoutError:
                    if self._taken() == taken:  # a slow reader would have read a little
                        raise
        except (TimeoutError, OSError):
            # A reader that stalls is let go. A logged stream can still be resumed.
            self.detached = self.request.ended = True
        self.last_sent = self._clock()

    def _taken(self) -> int:
        """Bytes that the client has read so far; 0 where the server cannot tell. A server that can tell sends nothing
        of a message whose sending was cancelled, so the message may be sent again."""
        tell = self.request.scope.get("state", {}).get(TAKEN)
        return tell() if tell is not None else 0
