"""GET /oauth/callback: the browser is back from the identity provider. It knows no provider's protocol."""

from __future__ import annotations

from mcp_edge.audit import decided
from mcp_edge.auth.identity.provider import RedirectProvider, SignInRefused
from mcp_edge.auth.server.browser import arrival, flows
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import NotFound, UpstreamError
from mcp_edge.protocol.request import Request

_READ = ("code", "iss", "error")


def returned(request: Request) -> tuple[str, dict[str, str]]:
    """The `state` and the other parameters with which a provider sent the browser back.

    Raises:
        BadRequest: a parameter is repeated.
    """
    request.only("GET")
    query = Parameters.parse(request.query)
    return query.one("state"), {name: value for name in _READ if (value := query.one(name))}


async def callback(server: AuthorizationServer, request: Request) -> None:
    """Finish the sign-in that the `state` names: once, and only in the browser in which it was begun."""
    state, parameters = returned(request)
    if not isinstance(server.provider, RedirectProvider):
        raise NotFound("Nobody is sent here: this server asks on a page of its own.")
    flow = await flows.take(server, request, state)
    try:
        identity = await server.provider.arrive(parameters, flow.secrets, callback=server.urls.at(flows.CALLBACK))
    except (SignInRefused, UpstreamError) as e:
        reason = e.reason if isinstance(e, SignInRefused) else str(e)
        decided("sign-in", "refused", address=server.attempts.address(request), reason=reason)
        if flow.request is None:
            raise
        error = "access_denied" if isinstance(e, SignInRefused) else "temporarily_unavailable"
        await flows.refuse(server, request, flow.request, error, str(e), reason=reason)
        return
    await arrival.finish(server, request, flow, identity)
