"""Where the messages of a call go: JSON or a stream that is not logged, one JSON answer, or nowhere.

An outlet has `put`, `close` and `can_ask`, and inherits from no other. It knows no MCP method, and not why a call ends.
`logged_stream` has the outlet whose stream any instance can resume.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mcp_edge.calls.outcome import Outcome
from mcp_edge.platform import Platform
from mcp_edge.protocol import sse
from mcp_edge.protocol.request import Request
from mcp_edge.sdk import dispatch

_FREE_PROGRESS = 10
_PROGRESS_S = 0.05


class Outlet(dispatch.Outlet, Protocol):
    """Where one call's messages go."""

    @property
    def is_stream(self) -> bool:
        """Whether the response has begun as an event stream, which has to be kept alive."""
        ...

    @property
    def detached(self) -> bool:
        """Whether nobody reads the response any more."""
        ...

    async def open(self) -> None:
        """Begin the stream, where there can be one: the quiet period is over."""
        ...

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Send one JSON-RPC message before the final response. A progress message may give way to a later one."""
        ...

    async def flush(self) -> None:
        """Send the progress message that has been held back."""
        ...

    def detach(self) -> None:
        """The client has closed the connection."""
        ...

    async def close(self, outcome: Outcome) -> bool:
        """Send the final response, or end without one; nothing follows.

        Returns: whether the call has ended for whoever else reads it, too.
        """
        ...


class Progress:
    """The progress messages of one stream: one that comes too fast gives way to the next."""

    __slots__ = ("_at", "_clock", "_held", "_sent")

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives epoch seconds."""
        self._clock = clock
        self._held: bytes | None = None
        self._at = 0.0
        self._sent = 0

    def holds_back(self, message: bytes) -> bool:
        """Whether `message` waits for the next one, or for `take`."""
        now = self._clock()
        if self._sent >= _FREE_PROGRESS and 0 <= now - self._at < _PROGRESS_S:
            self._held = message
            return True
        self._at = now
        self._sent += 1
        self._held = None
        return False

    def take(self) -> bytes | None:
        """The message that waits; it waits no longer."""
        held, self._held = self._held, None
        return held


class JsonOrStream:
    """JSON where the call emits nothing, a stream from its first message or the end of a quiet period on.

    The stream is not logged: this is 2026-07-28, where closing it cancels the call.
    """

    can_ask = can_send_away = False
    _closed = False
    _writer: sse.Writer | None = None
    _progress: Progress | None = None

    def __init__(self, request: Request, platform: Platform) -> None:
        self.request = request
        self._platform = platform

    @property
    def writer(self) -> sse.Writer:
        """The sending end of the stream, made when it is first needed."""
        if self._writer is None:
            self._writer = sse.Writer(self.request, self._platform.clock)
        return self._writer

    @property
    def is_stream(self) -> bool:
        """Whether the stream has begun."""
        return self._writer is not None and self._writer.started

    @property
    def detached(self) -> bool:
        """Whether nobody reads any more."""
        return self._writer is not None and self._writer.detached

    def detach(self) -> None:
        """The client has closed the connection."""
        self.writer.detached = True

    async def open(self) -> None:
        """Begin the stream, unless the answer is known by now or the host cannot stream."""
        async with self.writer.lock:
            if not self._closed and self._platform.streaming:
                await self.writer.start()

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Send one message, and begin the stream with it if need be."""
        if self._progress is None:
            self._progress = Progress(self._platform.clock)
        if progress and self._progress.holds_back(message):
            return
        async with self.writer.lock:
            if self._closed:
                return
            held = self._progress.take()
            await self.writer.start()
            if held is not None and not progress:
                await self.writer.send(sse.frame(held))
            await self.writer.send(sse.frame(message))

    async def send_away(self) -> None:
        """Nobody could come back."""

    async def flush(self) -> None:
        """Send the progress message that has been held back, and a comment where nothing was sent for a while."""
        async with self.writer.lock:
            if not self._closed and self._progress is not None and (held := self._progress.take()):
                await self.writer.send(sse.frame(held))
        await self.writer.keep_alive(self._platform.settings.keepalive_s)

    async def close(self, outcome: Outcome) -> bool:
        """Answer with JSON, or end the stream with the response."""
        self._closed = True
        if self._writer is None and outcome.body is not None:
            await self.request.answer(outcome.http, outcome.body)
            return False
        async with self.writer.lock:  # the stream may be beginning just now
            if outcome.body is None:
                await self.writer.start()
                await self.writer.end()
            elif self.writer.started:
                if self._progress is not None and (held := self._progress.take()):
                    await self.writer.send(sse.frame(held))
                await self.writer.end(sse.frame(outcome.body))
            else:
                await self.request.answer(outcome.http, outcome.body)
        return False


class JsonOnly:
    """One JSON answer, whatever the call emits: that to `initialize`, whose head names the session."""

    can_ask = can_send_away = is_stream = detached = False

    def __init__(self, request: Request) -> None:
        self._request = request

    async def open(self) -> None:
        """There is no stream."""

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Drop the message."""

    async def flush(self) -> None:
        """There is nothing to send."""

    def detach(self) -> None:
        """Nobody has to know."""

    async def send_away(self) -> None:
        """There is no stream."""

    async def close(self, outcome: Outcome) -> bool:
        """Send the answer."""
        assert outcome.body is not None  # nobody cancels what has no id yet
        await self._request.answer(outcome.http, outcome.body)
        return False


class Nowhere:
    """Where nothing may be sent: the handler of a notification has no response to put a message in."""

    can_ask = can_send_away = False

    async def send_away(self) -> None:
        """There is no stream."""
