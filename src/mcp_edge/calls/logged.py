"""The answer to a handshake request whose stream is logged, so that any instance can replay, tail or take it over.

Its client may leave and come back; only an explicit cancellation cancels. It knows no question.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcp_edge.calls.open_stream import Sole
from mcp_edge.calls.reply import PlainReply
from mcp_edge.errors import StoreUnavailable
from mcp_edge.protocol import jsonrpc, sse
from mcp_edge.protocol.request import Request
from mcp_edge.records.cancellations import was_cancelled
from mcp_edge.records.meter import SMALL, Meter
from mcp_edge.records.sessions import Session
from mcp_edge.records.stream_head import Head
from mcp_edge.records.stream_log import END, FINAL, MESSAGE, Journal, LeaseLost
from mcp_edge.user import User

if TYPE_CHECKING:
    from mcp_edge.calls.core import Core

logger = logging.getLogger(__name__)

Call = tuple[str, dict[str, Any] | None, int | str]
"""Method, params, request id."""

PRIMED_SINCE = "2025-11-25"
NOT_KEPT = (
    "The call has ended, but its answer was too long to be kept for a client that comes back:"
    " this user's streams hold too many bytes in this hour."
)


class LoggedReply(PlainReply):
    """An answer with a log. Begun by a POST, or by whoever takes its stream over."""

    _head: Head | None = None
    _journal: Journal | None = None
    _sole: Sole | None = None
    _beat_at = 0.0
    _checked_at = 0.0

    def __init__(
        self, request: Request, core: Core, user: User, session: Session, call: Call, writer: sse.Writer | None = None
    ) -> None:
        super().__init__(request, core.platform, writer)
        self._user = user
        self._core = core
        self._session = session
        self._call = call
        self._started_at = core.platform.clock()
        self._primed = session.version >= PRIMED_SINCE
        self._meter = Meter(core.platform, session.principal)

    @property
    def head(self) -> Head:
        """What the store knows of the call; most calls are answered before anybody needs it."""
        if self._head is None:
            method, params, request_id = self._call
            session, began = self._session, self._started_at
            self._head = Head(
                session.key, session.principal, request_id, method, params, session.version, again=False, began=began
            )
        return self._head

    def adopt(self, journal: Journal, sole: Sole) -> None:
        """Go on with a stream that was taken over; its reader is attached already, and is `sole`."""
        self._journal, self._head, self._sole = journal, journal.head, sole
        self._started_at = journal.head.began or self._started_at
        self._keep()

    async def begin(self) -> None:
        """Answer with a stream from the start."""
        async with self.writer.lock:
            await self._open()

    # -- the log --------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        core, head = self._core, self.head
        head.again = await core.kernel.catalogue.may_run_again(head.method, head.params)
        if self._journal is None:
            self._journal = await self._begin_log(head)
        await self.writer.start()
        if self._journal is not None and self._primed:
            await self.writer.send(sse.priming(self._journal.event_id(0)))
        self._keep()

    async def _begin_log(self, head: Head) -> Journal | None:
        if not self.platform.shared:
            return None
        try:
            # A call that is suspended has been counted. Annexes are counted before they are stored, the rest later.
            if head.suspended or await self._core.quotas.may_log(head.principal, head.pack()):
                return await Journal.open(self.platform, head)
        except StoreUnavailable as e:
            if not self.platform.streaming:  # a buffered response has nothing but its log
                raise
            logger.warning("a stream is not logged, so it cannot be resumed: %s", e)  # the client is there to be told
        head.restore(head.without_annexes())
        return None

    async def _put(self, message: bytes) -> None:
        if not self.writer.started:
            await self._open()
        event_id = await self._append(MESSAGE, message)
        if not self.why:
            await self.writer.send(sse.frame(message, event_id))

    async def _put_final(self, body: bytes) -> None:
        event_id = await self._append_last(FINAL, body)
        await self.writer.end(sse.retry() if self.why == "lost" else sse.frame(body, event_id))
        await self._count()

    async def _flush_progress(self, *, keep: bool) -> None:
        try:
            await super()._flush_progress(keep=keep)
        except StoreUnavailable as e:  # neither the answer nor the keeper may fail for the sake of a progress message
            logger.warning("a progress message was dropped: %s", e)

    async def _append(self, kind: bytes, data: bytes) -> str | None:
        """Log an entry and return its event id; without one it is sent, but whoever comes back does not get it."""
        if self._journal is None:
            return None
        is_end = kind != MESSAGE
        self._pass_on(self._journal)
        if not await self._meter.allows(len(data), last=is_end) and not (is_end and len(data) <= SMALL):
            if not is_end:
                return None
            data = jsonrpc.error(self._call[2], jsonrpc.INVALID_REQUEST, NOT_KEPT)
        try:
            return await self._journal.append(kind, data)
        except LeaseLost:
            self._lose()
            return None

    def _pass_on(self, journal: Journal) -> None:
        self._meter.stored(journal.unpaid)
        journal.unpaid = 0

    async def _append_last(self, kind: bytes, data: bytes) -> str | None:
        """What the call has done is done: while the store is away, the client that is there is told all the same."""
        try:
            event_id = await self._append(kind, data)
        except StoreUnavailable as e:
            logger.warning("the end of a stream is not logged: %s", e)
            return None
        self._over = event_id is not None
        return event_id

    async def _count(self) -> None:
        """Count what was logged here against the principal's quota."""
        if self._journal is not None:
            self._pass_on(self._journal)
            await self._meter.settle()

    def _lose(self) -> None:
        """Another instance runs the call now; this one must not send another word."""
        self.cancel("lost")
        self.why = self.why or "lost"

    async def abandon(self) -> None:
        if self._journal is not None and self.why != "lost":
            async with self.writer.lock:
                await self._append_last(END, b"")
        await super().abandon()
        await self._count()

    async def leave(self) -> None:
        await super().leave()
        await self._count()

    def _last_words(self) -> bytes:
        return sse.retry() if self.why == "lost" else b""

    @property
    def _name(self) -> str:
        return self._journal.stream if self._journal is not None else super()._name

    # -- leaving and coming back --------------------------------------------------------------------------------------

    def _gone(self) -> None:
        """A disconnect is not a cancellation (MCP 2025-11-25 transports): the call goes on, its log grows."""

    @property
    def close_early(self) -> Callable[[], Awaitable[None]] | None:  # pyright: ignore[reportIncompatibleVariableOverride] # read-only here
        """Closes the response and leaves the call running; a buffered host runs nothing after a response."""
        return self._close_early if self.platform.streaming else None

    async def _close_early(self) -> None:
        """Send `retry`, end the response, and go on: the client resumes with its last event id."""
        async with self.writer.lock:
            if not self.writer.started:
                await self._open()
            if self._journal is not None and (self._primed or self._journal.bytes):
                await self.writer.end(sse.priming(self._journal.event_id()))

    async def _tick(self) -> None:
        try:
            await self._look_after()
        except LeaseLost:
            self._lose()
        except StoreUnavailable:
            logger.warning("the store is away; stream %s goes on", self._journal.stream[:8] if self._journal else "-")

    async def _look_after(self) -> None:
        settings = self.platform.settings
        if await was_cancelled(self.platform, self._session.key, self._call[2], self._started_at):
            self.cancel("cancelled")
            return
        if time.monotonic() - self._beat_at >= settings.lease_s / 3:
            self._beat_at = time.monotonic()
            if not await self._may_go_on():
                self.cancel("ended")
            elif self._journal is not None and self.running:
                async with self.writer.lock:
                    await self._journal.beat()
                await self._give_way(self._journal)
        if self.platform.drain.draining and not self.writer.detached:
            await self._close_early()

    async def _give_way(self, journal: Journal) -> None:
        """End the response where the stream has another reader by now: it has one, the newest."""
        if self.platform.streaming and not self.writer.detached:
            self._sole = self._sole or Sole(self.platform, journal.stream)
            if await self._sole.is_anothers():
                await self._close_early()

    async def _may_go_on(self) -> bool:
        """Whether the session still exists and the credential is still good, which is asked less often."""
        now = time.monotonic()
        if now - self._checked_at >= self.platform.settings.recheck_s:
            self._checked_at = now
            assert self._user is not None
            if not await self._core.still_valid(self.request, self._user):
                return False
        return await self._core.sessions.alive(self._session)
