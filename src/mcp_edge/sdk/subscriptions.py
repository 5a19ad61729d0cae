"""The methods that `MCPServer` leaves to its transport: log level, resource subscriptions, `subscriptions/listen`.

Their state is in the store, so any instance serves them. They know no HTTP.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from mcp_edge.auth.authenticator import Authenticator, still_valid
from mcp_edge.auth.permissions import Permissions
from mcp_edge.errors import BadRequest
from mcp_edge.platform import Platform
from mcp_edge.records.changes import MAX_URI_BYTES, METHODS, Change, Changes, uri_bytes
from mcp_edge.records.polling import Backoff
from mcp_edge.records.sessions import MOST_SUBSCRIPTIONS, Session, Sessions
from mcp_edge.sdk.dispatch import Dispatch
from mcp_edge.tools.current import CURRENT

Context = ServerRequestContext[Any, Any]


def register_subscriptions(
    low: Server[Any],
    platform: Platform,
    sessions: Sessions,
    changes: Changes,
    authenticator: Authenticator,
    permissions: Permissions,
) -> None:
    """Register the handlers on the low-level server. The SDK's own `subscriptions/listen` knows one process only; it is
    replaced where it is registered."""

    def session() -> Session:
        found = cast(Dispatch, CURRENT.get()).session
        if found is None:
            raise MCPError(t.METHOD_NOT_FOUND, "Method not found")
        return found

    async def set_level(ctx: Context, params: t.SetLevelRequestParams) -> t.EmptyResult:
        await sessions.set_level(session(), params.level)
        return t.EmptyResult()

    async def subscribe(ctx: Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        await sessions.subscribe(session(), str(params.uri))
        return t.EmptyResult()

    async def unsubscribe(ctx: Context, params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        await sessions.unsubscribe(session(), str(params.uri))
        return t.EmptyResult()

    low.add_request_handler("logging/setLevel", t.SetLevelRequestParams, set_level)
    low.add_request_handler("resources/subscribe", t.SubscribeRequestParams, subscribe)
    low.add_request_handler("resources/unsubscribe", t.UnsubscribeRequestParams, unsubscribe)
    if low.get_request_handler("subscriptions/listen") is not None:
        listener = Listener(platform, changes, authenticator, permissions)
        low.add_request_handler("subscriptions/listen", t.SubscriptionsListenRequestParams, listener.listen)


class Listener:
    """The handler of `subscriptions/listen` (MCP 2026-07-28): a stream of the changes that a client asked for."""

    def __init__(
        self,
        platform: Platform,
        changes: Changes,
        authenticator: Authenticator,
        permissions: Permissions,
    ) -> None:
        self._platform = platform
        self._authenticator = authenticator
        self._permissions = permissions
        self._changes = changes

    async def listen(self, ctx: Context, params: t.SubscriptionsListenRequestParams) -> t.SubscriptionsListenResult:
        """Acknowledge, then send the changes until the client leaves, the process drains, the stream's time is over, or
        the credential is valid no more.

        Raises:
            MCPError: the host cannot hold streams.
            BadRequest, TooMany: the client wants too many resources, or holds too many streams.
        """
        call = cast(Dispatch, CURRENT.get())
        if not (self._platform.streaming and self._platform.shared):
            raise MCPError(t.INVALID_REQUEST, "This host cannot hold streams: subscriptions/listen is not available.")
        check_uris(params.notifications.resource_subscriptions or ())
        wanted, principal = await self._allowed(call, params.notifications), call.user.principal
        meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        await call.take_slot()
        cursor = await self._changes.now(principal)  # before the acknowledgement: nothing in between is missed
        honored = wanted.model_dump(by_alias=True, mode="json", exclude_none=True)
        honored = {kind: value for kind, value in honored.items() if value}
        await call.notify("notifications/subscriptions/acknowledged", {"notifications": honored, "_meta": meta})
        started = checked = self._platform.clock()
        backoff = Backoff(self._platform)
        while True:
            await backoff.next()
            for change, place in await self._changes.since(principal, cursor):
                cursor = place
                for uri in uris(change, wanted):
                    await call.notify(METHODS[change.kind], {**({"uri": uri} if uri else {}), "_meta": meta})
            now = self._platform.clock()
            if self._platform.drain.draining or now - started > self._platform.stream_budget_s:
                break
            if now - checked > self._platform.settings.recheck_s:
                checked = now
                if not await still_valid(self._authenticator, call.request, call.user):
                    break
        return t.SubscriptionsListenResult(_meta=meta)

    async def _allowed(self, call: Dispatch, wanted: t.SubscriptionFilter) -> t.SubscriptionFilter:
        """`wanted` without the resources that the user may not read. The acknowledgement tells what is left."""
        uris = wanted.resource_subscriptions
        if call.user.scopes is None or not uris:
            return wanted
        readable = await self._permissions.readable(call.user, uris)
        return wanted.model_copy(update={"resource_subscriptions": readable})


def check_uris(uris: Collection[str]) -> None:
    """Hold a listener, which keeps its URIs in memory, to what a session may subscribe to.

    Raises:
        BadRequest: there are too many URIs, or one is too long.
    """
    if len(uris) > MOST_SUBSCRIPTIONS:
        raise BadRequest(f"A stream listens for at most {MOST_SUBSCRIPTIONS} resources.", code=t.INVALID_PARAMS)
    if any(uri_bytes(uri) is None for uri in uris):
        raise BadRequest(f"A URI is over {MAX_URI_BYTES} bytes.", code=t.INVALID_PARAMS)


def uris(change: Change, wanted: t.SubscriptionFilter) -> list[str]:
    """The URIs to notify of, one by one: an empty text for a list that changed, none for a change not in `wanted`."""
    if change.kind == "updated":
        subscribed = wanted.resource_subscriptions or []
        return list(subscribed) if change.uri is None else [change.uri] if change.uri in subscribed else []
    asked = {
        "tools": wanted.tools_list_changed,
        "prompts": wanted.prompts_list_changed,
        "resources": wanted.resources_list_changed,
    }
    return [""] if asked[change.kind] else []
