"""One request, from its beginning to its final response: begin, ask, stop, close, record. It knows no wire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from mcp_edge.calls import elicitation
from mcp_edge.calls.attendance import attend
from mcp_edge.calls.core import Core, Message
from mcp_edge.calls.duties import Duties
from mcp_edge.calls.failures import failure
from mcp_edge.calls.outcome import Outcome, Stop
from mcp_edge.calls.outlets import Outlet
from mcp_edge.calls.suspension import suspend
from mcp_edge.errors import TooMany
from mcp_edge.platform import CallEvent
from mcp_edge.protocol import eager, jsonrpc
from mcp_edge.protocol.request import Request
from mcp_edge.records.sessions import Session
from mcp_edge.records.stream_log import LeaseLost
from mcp_edge.sdk.connection import RequestConnection
from mcp_edge.sdk.dispatch import Dispatch
from mcp_edge.sdk.results import InputRequired
from mcp_edge.text.log_text import MAX_CHARS, clipped
from mcp_edge.tools.current import CURRENT
from mcp_edge.user import User

logger = logging.getLogger(__name__)

Result = bytes | InputRequired
_LABEL = 80
_NAMES = {"tools/call": "name", "prompts/get": "name"}


Work = Callable[["Call"], Coroutine[Any, Any, Result]]
"""What makes the result of a call."""


class Call(Dispatch):
    """One request. `run` takes it from its beginning to its final response."""

    outlet: Outlet
    connection: RequestConnection
    """The SDK's connection, while the call runs."""
    stopped_by: Stop | None = None
    """Why it was stopped before its end, if it was."""
    refusal: TooMany | None = None
    """What the client is told where the call was stopped because it may not be held."""
    running = True
    """Whether the call may be stopped; False from the moment its outcome is known."""
    rounds = 0
    """How many times its handler has asked the client."""
    _duties: Duties | None = None
    _task: asyncio.Task[Any] | None = None
    _attendant: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None

    def __init__(
        self,
        core: Core,
        request: Request,
        user: User,
        session: Session | None,
        message: Message,
        outlet: Outlet,
        *,
        duties: Callable[[Call], Duties] | None = None,
        attended: bool = True,
    ) -> None:
        """`duties` makes what has to be looked after once the call lasts; `attended`: by the call itself."""
        self.message = message
        self.method, self.params, request_id = message
        super().__init__(
            request, user, core.platform, core.changes, core.sessions, session, request_id, self.params, outlet
        )
        self.core = core
        self._duties_of = duties
        self._attended = attended and duties is not None

    async def run(self, connection: RequestConnection, work: Work | None = None) -> None:
        """Answer the request with the result of `work`, which is the SDK's unless it is given.

        Nothing that the request did raises out of here; the cancellation of the server's own task does.
        """
        started, self.connection = time.perf_counter(), connection
        CURRENT.set(self)
        try:
            result = self._begin(self.dispatched() if work is None else work(self))
            if not isinstance(result, (bytes, InputRequired)):  # a union is slower, and this is every call
                result = await result
            while isinstance(result, InputRequired):
                result = await self.dispatched(result.state, await suspend(self, result))
            outcome = self._answered(result)
        except asyncio.CancelledError:
            outcome = self._stopped()  # raises on, unless `stop` has cancelled the task
        except Exception as e:  # noqa: BLE001 # the boundary: nothing that a tool raises ends more than its call
            outcome = failure(e, self.core, self, connection.protocol_version)
        self._settle()
        is_ended = await self.outlet.close(outcome)
        if self._duties is not None:
            await self._leave(self._duties, is_ended)
        if connection.needs_clean_up:
            await self._clean_up()
        del self.connection  # which refers to the call
        self._record(connection.protocol_version, outcome.status, (time.perf_counter() - started) * 1000)

    def dispatched(
        self, state: str | None = None, answers: dict[str, Any] | None = None
    ) -> Coroutine[Any, Any, Result]:
        """Run the request through the SDK, a suspended one with the `answers` to what its handler asked."""
        if answers is not None:
            self.resumed = {"inputResponses": answers}
            if state is not None:
                self.resumed["requestState"] = state
        return self.core.kernel.request(self, self.connection, self.method, self.params)

    # -- beginning and ending -----------------------------------------------------------------------------------------

    def _begin(self, job: Coroutine[Any, Any, Result]) -> Result | Awaitable[Result]:
        """Begin `job`: its result, if it waits for nothing; else the rest to await, and the quiet period begins."""
        self._task = asyncio.current_task()
        if self.outlet.is_stream:
            self._attend()
        result = eager.begin(job)
        if self._attended and self._attendant is None and not isinstance(result, (bytes, InputRequired)):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.platform.settings.quiet_s, self._attend)
        return result

    def _answered(self, result: bytes) -> Outcome:
        if self.stopped_by is not None:  # the handler took its cancellation for something else
            raise asyncio.CancelledError
        return Outcome("tool_error" if self.failed else "ok", jsonrpc.result(self.message[2], result))

    def _stopped(self) -> Outcome:
        """The end of a call whose task was cancelled by `stop`. Any other cancellation is raised on."""
        task = asyncio.current_task()
        if self.stopped_by is None or task is None:
            self._settle()
            if self._attendant is not None:
                self._attendant.cancel()  # it must not outlive the call
            raise  # noqa: PLE0704 # called from where the cancellation is caught
        task.uncancel()
        if self.refusal is not None:
            return failure(self.refusal, self.core, self, self.connection.protocol_version)
        return Outcome.stopped(self.stopped_by)

    def _settle(self) -> None:
        self.running = False
        if self._timer is not None:
            self._timer.cancel()

    async def _leave(self, duties: Duties, is_ended: bool) -> None:
        """Wait for the attendant's end, and give the slot in the quota back."""
        if self._attendant is not None:
            self._attendant.cancel()
            await asyncio.wait({self._attendant})
            if not self._attendant.cancelled():
                self._attendant.exception()  # retrieved: an attendant that failed has stopped nothing and lost nothing
        await duties.slot.release(for_all=is_ended)

    async def _clean_up(self) -> None:
        """Run what the handler left to be run at the end; the response is sent, so a failure is only logged."""
        try:
            await self.connection.aclose()
        except Exception:
            logger.exception("request %s: its clean-up failed", self.trace_id())

    # -- while it lasts -----------------------------------------------------------------------------------------------

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Send one JSON-RPC message before the final response. A progress message may give way to a later one."""
        try:
            await self.outlet.put(message, progress=progress)
        except LeaseLost:
            self.stop(Stop.LOST)
        if self._attendant is None and self.outlet.is_stream:
            self._attend()

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """Send a request to the client, hold the call, and return the result.

        Raises:
            MCPError: the client answered with an error, or not in time.
        """
        assert self.session is not None
        return await elicitation.ask(self.core, self.session, self.put, method, params, timeout_s)

    async def take_slot(self) -> None:
        """Count among the streams that the user holds from now on.

        Raises:
            TooMany: there are as many as may be held.
        """
        if (duties := self.duties()) is not None:
            await duties.slot.take()

    def stop(self, reason: Stop) -> None:
        """Stop the call, unless its outcome is known."""
        if self.running and self.stopped_by is None and self._task is not None:
            self.stopped_by = reason
            self._task.cancel()

    def duties(self) -> Duties | None:
        """What has to be looked after while the call lasts."""
        if self._duties is None and self._duties_of is not None:
            self._duties = self._duties_of(self)
        return self._duties

    async def look_after(self) -> None:
        """Do what is due, and stop the call where it must not go on.

        Raises:
            StoreUnavailable: the next look tries again.
        """
        duties = self.duties()
        if duties is None or not self.running:
            return
        try:
            if (reason := await duties.look()) is not None:
                self.stop(reason)
        except TooMany as e:
            self.refusal = e
            self.stop(Stop.REFUSED)
        except LeaseLost:
            self.stop(Stop.LOST)
        if not self.running and not self._attended:
            await duties.slot.release()  # it ended meanwhile

    def _attend(self) -> None:
        if self._attended and self.running and self._attendant is None:
            self.duties()
            self._attendant = asyncio.get_running_loop().create_task(attend(self))

    # -- the line -----------------------------------------------------------------------------------------------------

    def _record(self, version: str, status: str, ms: float) -> None:
        """One line per call: no argument, no result, no secret."""
        given = self.params.get(_NAMES.get(self.method, "")) if self.params else None
        method, name, request_id = self.method, given if type(given) is str else "", str(self.request_id)
        subject, client, app = self.user.subject, self.client, self.user.client
        if len(method) > _LABEL or len(name) > _LABEL or len(request_id) > _LABEL:  # no call for most
            method, name, request_id = (clipped(text, _LABEL) for text in (method, name, request_id))
        if len(subject) + len(client) + len(app) > MAX_CHARS:
            subject, client, app = (clipped(text) for text in (subject, client, app))
        session = self.session.key[:12] if self.session else ""
        self.platform.telemetry.call(
            CallEvent(version, method, name, status, ms, request_id, session, subject, client, app)
        )
