"""stdio: a client launched this process and speaks on its standard streams. The SDK's own loop serves both eras.

One client, one user, one connection: nothing of the HTTP core is needed. It logs nothing on standard output.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import mcp_types as t
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.mcpserver import MCPServer
from mcp.server.session import ServerSession
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.subscriptions import event_to_notification

from mcp_edge.hosts.cli.stdio_bounds import WithinBounds, check_uris
from mcp_edge.platform import Platform
from mcp_edge.protocol.revisions import REVISIONS
from mcp_edge.sdk.arguments import bound_argument_errors
from mcp_edge.sdk.lowlevel import lowlevel_server
from mcp_edge.tools.current import CURRENT
from mcp_edge.user import User


@dataclass(slots=True)
class StdioCall:
    """The connection as tools see it: `mcp_edge.tools.current.Call`."""

    user: User
    platform: Platform
    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    session: ServerSession | None = None
    subscribed: set[str] = field(default_factory=set[str])
    """URIs that a handshake client subscribed to."""

    async def changed(self, event: ServerEvent) -> None:
        """Tell the client: through its listen streams, or by a plain notification in the handshake era."""
        await self.bus.publish(event)
        session = self.session
        if session is None or REVISIONS[session.protocol_version].has_listen:
            return
        if not isinstance(event, ResourceUpdated) or event.uri in self.subscribed:
            await session.send_notification(event_to_notification(event, {}))


async def serve_stdio(server: MCPServer[Any], platform: Platform) -> None:
    """Serve the client on the standard streams until it closes them. What a tool prints goes to standard error."""
    low = lowlevel_server(server)
    call = StdioCall(User(issuer="local", subject="local", name="Local user"), platform)
    CURRENT.set(call)
    _register(low, call)
    bound_argument_errors(low, server)
    async with stdio_server() as (incoming, outgoing):
        options = low.create_initialization_options(NotificationOptions(True, True, True))
        with redirect_stdout(sys.stderr):
            await low.run(WithinBounds(incoming, outgoing), outgoing, options)


def _register(low: Server[Any], call: StdioCall) -> None:
    """What `MCPServer` leaves out: subscriptions of both eras, and the session for change notifications."""

    async def remember_session(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        call.session = ctx.session
        return await call_next(ctx)

    async def subscribe(_: ServerRequestContext[Any, Any], params: t.SubscribeRequestParams) -> t.EmptyResult:
        check_uris({*call.subscribed, str(params.uri)})
        call.subscribed.add(str(params.uri))
        return t.EmptyResult()

    async def unsubscribe(_: ServerRequestContext[Any, Any], params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        call.subscribed.discard(str(params.uri))
        return t.EmptyResult()

    low.middleware.append(remember_session)
    low.add_request_handler("resources/subscribe", t.SubscribeRequestParams, subscribe)
    low.add_request_handler("resources/unsubscribe", t.UnsubscribeRequestParams, unsubscribe)
    listener = ListenHandler(call.bus)

    async def listen(
        ctx: ServerRequestContext[Any, Any], params: t.SubscriptionsListenRequestParams
    ) -> t.SubscriptionsListenResult:
        check_uris(params.notifications.resource_subscriptions or ())
        return await listener(ctx, params)

    low.add_request_handler("subscriptions/listen", t.SubscriptionsListenRequestParams, listen)
