"""POST /revoke: a client gives its tokens back (RFC 7009)."""

from __future__ import annotations

from mcp_edge.auth.server.endpoints.client_authentication import authenticate_client
from mcp_edge.auth.server.endpoints.form import read_form
from mcp_edge.auth.server.endpoints.token import NO_STORE
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.protocol.request import Request


async def revoke(server: AuthorizationServer, request: Request) -> None:
    """End a token of the client's. 200 whether or not there was one (RFC 7009 §2.2).

    What kind it is the token itself says, so `token_type_hint` is not needed.

    Raises:
        OAuthError: `invalid_client`, `invalid_request`.
    """
    form = await read_form(request)
    client = await authenticate_client(server, request, form)
    await server.grants.revoke(form.need("token"), client)
    await request.answer(200, headers=NO_STORE)
