"""POST /introspect: what a token of the client's own is worth now (RFC 7662).

Only confidential clients may ask, and only about tokens that were issued to them: of any other token they learn that
it is not active, as of one that does not exist, so that nobody can try tokens out here (RFC 7662 §4).
"""

from __future__ import annotations

import json

from mcp_edge.auth.server.endpoints.client_authentication import authenticate_client
from mcp_edge.auth.server.endpoints.form import read_form
from mcp_edge.auth.server.endpoints.token import NO_STORE
from mcp_edge.auth.server.model import OAuthError
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.protocol.request import Request


async def introspect(server: AuthorizationServer, request: Request) -> None:
    """Answer with what is known of the token.

    Raises:
        OAuthError: `invalid_client`, also for a public client; `invalid_request`.
    """
    form = await read_form(request)
    client = await authenticate_client(server, request, form)
    if client.auth_method == "none":
        raise OAuthError("invalid_client", "Only a client with a secret may ask.", status=401)
    found = await server.grants.introspect(form.need("token"), client)
    await request.answer(200, json.dumps(found, separators=(",", ":")).encode(), headers=NO_STORE)
