"""The answer to one POST: JSON when the call emits nothing, a stream from its first message or a quiet period on.

A call that never waits costs neither a timer nor a task. Only when the answer becomes a stream does a keeper run beside
the call, in the call's own frame: it is always joined before the response ends. It knows no MCP method.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import INVALID_REQUEST

from mcp_edge.errors import CallerError, StoreUnavailable, TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol import sse
from mcp_edge.protocol.request import Request
from mcp_edge.records.quotas import Hold, Quotas
from mcp_edge.user import User

if TYPE_CHECKING:
    from mcp_edge.sdk.results import Asked

T = TypeVar("T")

_FREE_PROGRESS = 10
_PROGRESS_S = 0.05


class PlainReply:
    """An answer whose stream is not logged: 2026-07-28, where closing the stream cancels the call."""

    can_ask = False
    close_early: Callable[[], Awaitable[None]] | None = None

    # How every answer begins; most end before any of it changes.
    why = ""
    """Why the call was cancelled: `gone`, `cancelled`, `lost`, `ended`, `refused`; empty while it was not."""
    refusal: CallerError | None = None
    """What the client is told where the call was cancelled because it may not be held."""
    running = True
    """Whether the call may be cancelled; False from the moment its answer is known."""
    _kind = "streams"
    """Of what the response is one, for the quota."""
    _over = False
    """Whether the call has ended for whoever else reads or runs it."""
    _user: User | None = None
    _task: asyncio.Task[Any] | None = None
    _keeper: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _place: Hold | None = None
    _progress: bytes | None = None
    _progress_at = 0.0
    _progress_sent = 0

    def __init__(self, request: Request, platform: Platform, writer: sse.Writer | None = None) -> None:
        self.request = request
        self.platform = platform
        self._writer = writer

    @property
    def writer(self) -> sse.Writer:
        """The sending end of the stream, made when it is first needed."""
        if self._writer is None:
            self._writer = sse.Writer(self.request)
        return self._writer

    def watch(self, job: Coroutine[Any, Any, T], user: User) -> T | Awaitable[T]:
        """Begin `job` of `user`: its result, if it waits for nothing; else the rest to await, and the quiet period
        begins.
        """
        self._task = asyncio.current_task()
        self._user = user
        try:
            waits_for = job.send(None)
        except StopIteration as done:
            return done.value
        self._waits()
        return _rest(job, waits_for)

    def _waits(self) -> None:
        if self._keeper is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.platform.settings.quiet_s, self._wake)

    # -- emitting ------------------------------------------------------------------------------------------------

    async def emit(self, message: bytes, *, progress: bool = False) -> None:
        """Send one message; progress that comes too fast gives way to the next one."""
        if progress and not self._progress_is_due():
            self._progress = message
            return
        async with self.writer.lock:
            if not self.running:
                return  # nothing follows the final response
            await self._flush_progress(keep=not progress)
            await self._put(message)

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """There is no back-channel on this wire."""
        raise NoBackChannelError(method)

    async def suspend(self, asked: Asked, digest: str) -> dict[str, Any]:
        """Ask on the handler's behalf; here nobody can be asked."""
        raise MCPError(INVALID_REQUEST, "The client cannot be asked here; send the request alone.")

    async def finish(self, status: int, body: bytes) -> None:
        """Send the final response, as JSON or as the last event."""
        self._settle()
        if self._keeper is None and self._writer is None and self._place is None:
            await self.request.answer(status, body)
            return
        async with self.writer.lock:  # the keeper may be beginning the stream just now
            if self.writer.started:
                await self._flush_progress(keep=True)
                await self._put_final(body)
            else:
                await self.request.answer(status, body)
        await self._join()

    async def abandon(self) -> None:
        """End the response without an answer: the call was cancelled."""
        self._settle()
        async with self.writer.lock:
            if not self.writer.started:
                await self.writer.start()
            await self.writer.end(self._last_words())
        await self._join()

    async def leave(self) -> None:
        """The call goes on elsewhere, and its client has been sent there."""
        self._settle()
        await self._join()

    def drop(self) -> None:
        """The server's own task is cancelled: nothing more is sent, and the keeper must not outlive the call."""
        self._settle()
        if self._keeper is not None:
            self._keeper.cancel()

    # -- what a logged stream does otherwise ------------------------------------------------------------------------

    async def _open(self) -> None:
        """Begin the stream. The lock is held."""
        await self.writer.start()
        self._keep()

    async def _put(self, message: bytes) -> None:
        """Send one message, beginning the stream if need be. The lock is held."""
        if not self.writer.started:
            await self._open()
        await self.writer.send(sse.frame(message))

    async def _put_final(self, body: bytes) -> None:
        await self.writer.end(sse.frame(body))

    def _last_words(self) -> bytes:
        return b""

    async def _tick(self) -> None:
        """What is to be done every so often while the stream is open."""

    def _gone(self) -> None:
        """The client closed the connection: on 2026-07-28 that cancels (MCP 2026-07-28 transports, Cancellation)."""
        self.cancel("gone")

    def _settle(self) -> None:
        """The answer is known, or will never be."""
        self.running = False
        if self._timer is not None:
            self._timer.cancel()

    # -- the keeper ---------------------------------------------------------------------------------------------------

    def cancel(self, why: str) -> None:
        """Cancel the call, unless its answer is known."""
        if self.running and not self.why and self._task is not None:
            self.why = why
            self._task.cancel()

    def _wake(self) -> None:
        """The quiet period is over."""
        if self.running:
            self._keep()

    def _keep(self) -> None:
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._run_keeper())

    async def _run_keeper(self) -> None:
        """Keep the stream alive until the answer is sent; notice a client who leaves."""
        receiver = asyncio.ensure_future(self.request.receive())
        every_s = self.platform.cadence.most
        try:
            async with self.writer.lock:
                if not self.writer.started and self.running and self.platform.streaming:
                    await self._open()
            while self.running:
                await asyncio.wait({receiver}, timeout=every_s)
                if receiver.done() and not self.writer.detached and receiver.result()["type"] == "http.disconnect":
                    self.writer.detached = True
                    self._gone()
                elif receiver.done() and not self.writer.detached:
                    receiver = asyncio.ensure_future(self.request.receive())
                if receiver.done():
                    await asyncio.sleep(every_s)
                await self._tick_safely()
        finally:
            receiver.cancel()

    async def _tick_safely(self) -> None:
        if self.running:
            await self._keep_place()
        async with self.writer.lock:
            if self.running:
                await self._flush_progress(keep=True)
        await self.writer.keep_alive(self.platform.settings.keepalive_s)
        if self.writer.detached and not self.why:
            self._gone()
        await self._tick()

    async def _join(self) -> None:
        """Wait for the keeper's end."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            if not self._keeper.cancelled():
                self._keeper.exception()  # retrieved: a failed keeper has cancelled nothing and lost nothing
        if self._place is not None:
            with suppress(StoreUnavailable):  # it counts for a while longer
                await self._place.release(for_all=self._over)

    # -- the quota ----------------------------------------------------------------------------------------------------

    async def hold(self) -> None:
        """Count among the streams that the user holds, until the response ends.

        Raises:
            TooMany: there are as many as may be held.
        """
        if self._place is None and self._user is not None:
            self._place = Quotas(self.platform).place(self._kind, self._user.principal, self._name)
            try:
                await self._place.take(self.platform.settings.max_streams)
            except BaseException:
                self._place = None
                raise

    async def _keep_place(self) -> None:
        """Count from the first look on, if nothing has asked for it before: a short stream costs the store nothing."""
        try:
            if self._place is None:
                await self.hold()
            else:
                await self._place.keep()
        except TooMany as e:
            self.refusal = e
            self.cancel("refused")
        except StoreUnavailable:
            pass  # the next look tries again

    @property
    def _name(self) -> str:
        """The name under which the call counts wherever it goes on; empty where it goes on nowhere else. Calls of one
        request share none: each counts."""
        return ""

    # -- progress -----------------------------------------------------------------------------------------------------

    def _progress_is_due(self) -> bool:
        now = time.monotonic()
        if self._progress_sent >= _FREE_PROGRESS and now - self._progress_at < _PROGRESS_S:
            return False
        self._progress_at = now
        self._progress_sent += 1
        self._progress = None
        return True

    async def _flush_progress(self, *, keep: bool) -> None:
        """Send the progress message that was held back, or forget it when a later one comes. The lock is held."""
        held, self._progress = self._progress, None
        if held is not None and keep:
            await self._put(held)


class SilentReply:
    """Where nothing may be sent: the handler of a notification has no response to put it in."""

    can_ask = False
    close_early = None

    async def hold(self) -> None:
        """Nothing is held."""

    async def emit(self, message: bytes, *, progress: bool = False) -> None:
        """Drop the message."""

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """There is no back-channel."""
        raise NoBackChannelError(method)


@coroutine
def _rest(job: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Await the rest of a job that was begun and waits for `waits_for`, in the caller's own task."""
    while True:
        try:
            value = yield waits_for
        except BaseException as e:  # noqa: BLE001 # a cancellation, too, belongs to the job
            step, value = job.throw, e
        else:
            step = job.send
        try:
            waits_for = step(value)
        except StopIteration as done:
            return done.value
