"""After a sign-in: the browser gets its user, and goes on to what the sign-in was for. It knows no provider.

A sign-in alone never issues a code. It does only for a user whom the consent page has named and whom the identity
provider has named again: that user has decided on a page with that user's name.
"""

from __future__ import annotations

from mcp_edge.audit import decided
from mcp_edge.auth.identity.provider import Identity
from mcp_edge.auth.server.browser import consent, flows, pages
from mcp_edge.auth.server.browser.flows import Flow
from mcp_edge.auth.server.model import AuthorizationRequest
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.protocol.request import Request


async def finish(server: AuthorizationServer, request: Request, flow: Flow, identity: Identity) -> None:
    """Sign the user in at this browser, and send the browser on.

    Raises:
        Forbidden: the user has signed out everywhere meanwhile.
        BadRequest: the client or its redirect URI was withdrawn meanwhile.
        OAuthError: as `flows.issue`.
    """
    user = identity.user
    # The account first: who signs out everywhere after that forgets it, and who does so meanwhile is not signed in.
    if identity.tokens is not None and server.linked_accounts and server.settings.upstream_account == "identity":
        await server.linked_accounts.save(user.principal, identity.tokens)
    await server.browsers.sign_in(request, user)
    decided("sign-in", "allowed", principal=user.principal, address=server.attempts.address(request))
    if flow.request is None:
        await pages.redirect(request, server.urls.at(flow.return_to or "/apps"))
    else:
        await _authorize(server, request, flow, flow.request, identity)


async def _authorize(
    server: AuthorizationServer, request: Request, flow: Flow, requested: AuthorizationRequest, identity: Identity
) -> None:
    user, client = identity.user, await flows.client_of(server, requested)
    if flow.shown_to == consent.shown_to(user):
        await flows.issue(server, request, flow, requested, user)
        return
    # The page named somebody else, or nobody: then nothing but a cookie says that whoever pressed Allow has signed in.
    scopes = requested.scopes if flow.shown_to else flow.scopes
    again = flows.begin(server, client, requested, scopes, shown_to=flow.shown_to)
    await flows.ask(server, request, again)
