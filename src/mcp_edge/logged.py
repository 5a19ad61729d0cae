"""The answer to a handshake request whose stream is logged, so that any instance can replay, tail or take it over.

Its client may leave and come back; only an explicit cancellation cancels. Questions suspend the call here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, REQUEST_TIMEOUT

from mcp_edge import asking, jsonrpc, sse
from mcp_edge.cadence import Pauses
from mcp_edge.context import User
from mcp_edge.errors import EdgeError, StoreUnavailable
from mcp_edge.reply import PlainReply
from mcp_edge.request import Request
from mcp_edge.sessions import Session
from mcp_edge.streams import END, FINAL, MESSAGE, Head, Journal, LeaseLost
from mcp_edge.tokens import short_hash

if TYPE_CHECKING:
    from mcp_edge.core import Core
    from mcp_edge.results import Asked

logger = logging.getLogger(__name__)

Call = tuple[str, dict[str, Any] | None, int | str]
"""Method, params, request id."""

PRIMED_SINCE = "2025-11-25"
CANCEL_S = 60
_EARLY_S = 5
"""A cancellation may arrive this much before its request does; an older one was meant for another request."""


UNSHARED = (
    "This server's instances share no store that could bring the answer back, so nobody can be asked on this wire;"
    " a client of revision 2026-07-28 can be."
)


class Released(EdgeError):
    """The suspended call was left to whichever instance its client comes back to."""


def cancel_key(session: str, request_id: object) -> str:
    """Where a cancellation of the session's request is stored."""
    return f"cancel/{session}/{short_hash(jsonrpc.encode(request_id).decode())}"


async def was_cancelled(core: Core, session: str, request_id: object, since: float) -> bool:
    """Whether the client has cancelled the request that began at `since` (epoch seconds)."""
    entry = await core.platform.atomics.get(cancel_key(session, request_id))
    return entry is not None and float(entry.value) >= since - _EARLY_S


class LoggedReply(PlainReply):
    """An answer with a log. Begun by a POST, or by whoever takes its stream over."""

    _head: Head | None = None
    _journal: Journal | None = None
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

    @property
    def can_ask(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] # read-only here
        """Whether a question can be held open: not where the response is only sent when the call has ended, nor where
        the answer may arrive at an instance that cannot pass it on.
        """
        return self.platform.streaming and self.platform.shared

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

    def adopt(self, journal: Journal) -> None:
        """Go on with a stream that was taken over; its reader is attached already."""
        self._journal, self._head = journal, journal.head
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
        if not self.platform.streaming:  # a buffered response has nothing but its log
            return await Journal.open(self.platform, head)
        try:
            if await self._core.quotas.may_log(head.principal):
                return await Journal.open(self.platform, head)
        except StoreUnavailable as e:  # the client is still there to be answered
            logger.warning("a stream is not logged, so it cannot be resumed: %s", e)
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
        if self._journal is None:
            return None
        try:
            return await self._journal.append(kind, data)
        except LeaseLost:
            self._lose()
            return None

    async def _append_last(self, kind: bytes, data: bytes) -> str | None:
        """What the call has done is done: while the store is away, the client that is there is told all the same."""
        try:
            return await self._append(kind, data)
        except StoreUnavailable as e:
            logger.warning("the end of a stream is not logged: %s", e)
            return None

    async def _count(self) -> None:
        """Count what was logged here against the principal's quota."""
        if self._journal is not None:
            size, self._journal.unpaid = self._journal.unpaid, 0
            try:
                await self._core.quotas.logged(self._session.principal, size)
            except StoreUnavailable as e:
                logger.warning("%d logged bytes were not counted: %s", size, e)

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
        core, settings = self._core, self.platform.settings
        if await was_cancelled(core, self._session.key, self._call[2], self._started_at):
            self.cancel("cancelled")
            return
        if time.monotonic() - self._beat_at >= settings.lease_s / 3:
            self._beat_at = time.monotonic()
            if not await self._may_go_on():
                self.cancel("ended")
            elif self._journal is not None and self.running:
                async with self.writer.lock:
                    await self._journal.beat()
        if self.platform.drain.draining and not self.writer.detached:
            await self._close_early()

    async def _may_go_on(self) -> bool:
        """Whether the session still exists and the credential is still good, which is asked less often."""
        now = time.monotonic()
        if now - self._checked_at >= self.platform.settings.recheck_s:
            self._checked_at = now
            if not await self._core.still_valid(self.request, self._user):
                return False
        return await self._core.sessions.alive(self._session)

    # -- questions ----------------------------------------------------------------------------------------------------

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """Ask and hold the call until the answer is in the store."""
        return await asking.ask(self._core, self._session, self.emit, method, params, timeout_s)

    async def suspend(self, asked: Asked, digest: str) -> dict[str, Any]:
        """Store what is asked, ask it, and return the answers by input key.

        Raises:
            Released: the client left; the stream is free to be taken over.
            MCPError: the client answered with an error or not in time, or nobody can be asked here.
        """
        if not self.platform.shared:
            raise MCPError(INVALID_REQUEST, UNSHARED)
        head, core = self.head, self._core
        head.asked = {key: core.questions.mint(self._session.key) for key in asked.requests}
        head.requests, head.state, head.digest = asked.requests, asked.state, digest
        head.suspended, head.deadline = True, self.platform.clock() + self.platform.settings.question_ttl_s
        async with self.writer.lock:
            if not self.writer.started:
                await self._open()
            if self._journal is not None:
                await self._journal.save()
        for key, question in head.asked.items():
            await self.emit(jsonrpc.request(question, head.requests[key]["method"], head.requests[key].get("params")))
        return await self.answers()

    async def ask_again(self, logged: bytes) -> None:
        """Ask what the instance that died had stored but not yet logged."""
        for key, question in self.head.asked.items():
            if question.encode() not in logged:
                request = self.head.requests[key]
                await self.emit(jsonrpc.request(question, request["method"], request.get("params")))

    async def answers(self) -> dict[str, Any]:
        """Wait for the answers to what the head says was asked, and mark the call as running again."""
        head, core = self.head, self._core
        most, name = self.platform.settings.max_questions, ",".join(head.asked.values())
        hold = await core.quotas.hold("questions", self._session.principal, most, name)
        try:
            answers = await self._wait_attached()
        finally:
            await hold.release()
        head.suspended, head.asked, head.requests = False, {}, {}
        if self._journal is not None:
            async with self.writer.lock:
                await self._journal.save()
        return {key: asking.result_of(answer) for key, answer in answers.items()}

    async def _wait_attached(self) -> dict[str, dict[str, Any]]:
        head, core = self.head, self._core
        async for _ in Pauses(self.platform):
            found = await core.questions.look(head.asked.values())
            if found is not None:
                return {key: found[question] for key, question in head.asked.items()}
            if self.platform.clock() >= head.deadline:
                raise MCPError(REQUEST_TIMEOUT, "The question was not answered in time.")
            if not self.platform.streaming:
                await self._close_early()  # the client polls with its last event id; nothing is held meanwhile
            if self.writer.detached and self._journal is not None:
                async with self.writer.lock:
                    await self._journal.release()
                    self._settle()  # or the next heartbeat takes the lease back
                raise Released("the client will come back")
        raise AssertionError  # the pauses never end
