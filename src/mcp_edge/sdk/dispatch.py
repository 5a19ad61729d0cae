"""One request on its way through the SDK's kernel, and what it says meanwhile, in order.

`Dispatch` is the SDK's `DispatchContext`, its standalone outbound, and the current call that tools ask about. It knows
no HTTP but the request that it hands to handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import anyio
from mcp.server.subscriptions import ServerEvent
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.transport_context import TransportContext

from mcp_edge.platform import Platform
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.signing import mint
from mcp_edge.records.changes import KINDS, Change, Changes
from mcp_edge.records.sessions import LEVELS, Session, Sessions
from mcp_edge.user import User


class CannotAsk(NoBackChannelError):
    """The SDK's refusal, naming the way that works everywhere."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.error.message = (
            f"{method} cannot be held open here; ask with a `Resolve(...)` parameter of the tool instead."
        )


class Outlet(Protocol):
    """Where a request's messages go, as far as the SDK asks."""

    @property
    def can_ask(self) -> bool:
        """Whether the client can be asked while the call is held open."""
        ...

    @property
    def can_send_away(self) -> bool:
        """Whether the client can be sent away while the call runs, because it can come back for the rest."""
        ...

    async def send_away(self) -> None:
        """Close the event stream and leave the call running."""
        ...


class Dispatch:
    """One request or notification being handled, as the SDK and the tools see it. What it says goes nowhere: a `Call`
    overrides `put`, `ask` and `take_slot`."""

    __slots__ = (
        "_cancel", "_changes", "_least", "_progress_token", "_sessions",
        "_trace", "client", "failed", "outlet", "platform", "request", "request_id", "resumed", "session", "user",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        user: User,
        platform: Platform,
        changes: Changes,
        sessions: Sessions,
        session: Session | None,
        request_id: int | str | None,
        params: Mapping[str, Any] | None,
        outlet: Outlet,
    ) -> None:
        self.request = request
        self.user = user
        self.platform = platform
        self.session = session
        self.request_id = request_id
        self.outlet = outlet
        self.resumed: dict[str, Any] | None = None
        """`inputResponses` and `requestState`, when a suspended handshake request is run again."""
        self.client = session.label if session else ""
        """`name/version` of the client, for the log."""
        self.failed = False
        """Whether a tool answered with `isError`."""
        self._changes = changes
        self._sessions = sessions
        self._progress_token = _progress_token(params)
        self._least: int | None = None
        self._cancel: anyio.Event | None = None
        self._trace = ""

    def trace_id(self) -> str:
        """The id under which a bug is logged and told to the client: each call of one request has its own."""
        self._trace = self._trace or mint()[:16]
        return self._trace

    # -- what a call does with them ----------------------------------------------------------------------------------

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Send one JSON-RPC message before the final response. A progress message may give way to a later one."""

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """Send a request to the client, hold the call, and return the result.

        Raises:
            MCPError: the client answered with an error, or not in time.
        """
        raise CannotAsk(method)

    async def take_slot(self) -> None:
        """Count among the streams that the user holds from now on, rather than from when it has lasted a while.

        Raises:
            TooMany: there are as many as may be held.
        """

    # -- the SDK's DispatchContext ---------------------------------------------------------------------------------

    @property
    def transport(self) -> TransportContext:
        """What the SDK may know of the transport."""
        return TransportContext(
            kind="streamable-http", can_send_request=self.outlet.can_ask, headers=self.request.headers
        )

    @property
    def message_metadata(self) -> ServerMessageMetadata:
        """What `ServerRunner` reads the handler's request and stream-close callback from."""
        return ServerMessageMetadata(request_context=self.request, close_sse_stream=self.close_sse_stream)

    @property
    def close_sse_stream(self) -> Callable[[], Awaitable[None]] | None:
        """`ctx.close_sse_stream` of the SDK."""
        return self.outlet.send_away if self.outlet.can_send_away else None

    @property
    def cancel_requested(self) -> anyio.Event:
        """Never set: a cancelled call is cancelled as a task."""
        if self._cancel is None:
            self._cancel = anyio.Event()
        return self._cancel

    @property
    def can_send_request(self) -> bool:
        """Whether an imperative question can be held open."""
        return self.outlet.can_ask

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client and hold the call until the answer is in the store.

        Raises:
            NoBackChannelError: this wire or host cannot hold a question; `Resolve` can ask it instead.
            MCPError: the client answered with an error, or not in time.
        """
        if not self.outlet.can_ask:
            raise CannotAsk(method)
        return await self.ask(method, params, (opts or {}).get("timeout"))

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Emit a notification; one about changes goes to the listeners instead of this request's stream."""
        del opts
        if (kind := KINDS.get(method)) is not None and not _is_listen_frame(params):
            uri = (params or {}).get("uri")
            await self._changes.publish(self.user.principal, [Change(kind, uri if isinstance(uri, str) else None)])
        elif method != "notifications/message" or await self._wanted(params):
            await self.put(jsonrpc.notification(method, params), progress=method == "notifications/progress")

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress, if the request came with a progress token."""
        if self._progress_token is None:
            return
        params: dict[str, Any] = {"progressToken": self._progress_token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.put(jsonrpc.notification("notifications/progress", params), progress=True)

    # -- the current call, for tools ---------------------------------------------------------------------------------

    async def changed(self, event: ServerEvent) -> None:
        """Publish the SDK's change event to the user's listeners on every instance."""
        await self._changes.publish(self.user.principal, [Change.of(event)])

    async def _wanted(self, params: Mapping[str, Any] | None) -> bool:
        """Whether the session's log level admits the message; 2026-07-28 decides in the SDK, per request."""
        if self.session is None:
            return True
        if self._least is None:
            self._least = await self._sessions.level(self.session)
        level = (params or {}).get("level")
        return level not in LEVELS or LEVELS.index(level) >= self._least


def _progress_token(params: Mapping[str, Any] | None) -> int | str | None:
    token = jsonrpc.member(params.get("_meta"), "progressToken") if params else None
    return token if type(token) is int or type(token) is str else None


def _is_listen_frame(params: Mapping[str, Any] | None) -> bool:
    return params is not None and jsonrpc.member(params.get("_meta"), SUBSCRIPTION_ID_META_KEY) is not None
