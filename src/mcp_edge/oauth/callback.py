"""GET /oauth/callback: the browser is back from a provider, after a sign-in or with an account to connect."""

from __future__ import annotations

from mcp_edge.audit import decided
from mcp_edge.errors import NotFound, UpstreamError
from mcp_edge.identity.provider import RedirectProvider, Refused
from mcp_edge.oauth import arrival, connect, flow
from mcp_edge.oauth.parameters import Parameters
from mcp_edge.oauth.server import AuthorizationServer
from mcp_edge.request import Request

_READ = ("code", "iss", "error")


async def callback(server: AuthorizationServer, request: Request) -> None:
    """Finish what the `state` names: once, and only in the browser in which it was begun."""
    request.only("GET")
    query = Parameters.parse(request.query)
    state = query.one("state")
    told = {name: value for name in _READ if (value := query.one(name))}
    if connect.began(state):
        await connect.finish(server, request, state, told)
    else:
        await _signed_in(server, request, state, told)


async def _signed_in(server: AuthorizationServer, request: Request, state: str, told: dict[str, str]) -> None:
    if not isinstance(server.provider, RedirectProvider):
        raise NotFound("Nobody is sent here: this server asks on a page of its own.")
    waiting = await flow.take(server, request, state)
    try:
        identity = await server.provider.arrive(told, waiting.secrets, callback=server.urls.at(flow.CALLBACK))
    except (Refused, UpstreamError) as e:
        reason = e.reason if isinstance(e, Refused) else str(e)
        decided("sign-in", "refused", address=server.limits.address(request), reason=reason)
        if waiting.request is None:
            raise
        error, message = ("access_denied", e.message) if isinstance(e, Refused) else ("temporarily_unavailable", str(e))
        await flow.refuse(server, request, waiting.request, error, message, reason=reason)
        return
    await arrival.finish(server, request, waiting, identity)
