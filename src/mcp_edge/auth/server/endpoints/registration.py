"""POST /register: dynamic client registration (RFC 7591 §3), for clients that publish no document of their own."""

from __future__ import annotations

import json
from typing import Any, cast

from mcp_edge.audit import decided
from mcp_edge.auth.server.model import OAuthError
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.protocol.guards import check_json
from mcp_edge.protocol.request import Request

MAX_BYTES = 8 * 1024
"""Anybody may have as much kept for a day. What real clients send is a tenth of it."""


async def register(server: AuthorizationServer, request: Request) -> None:
    """Register the client in the body.

    Raises:
        OAuthError: `invalid_redirect_uri` or `invalid_client_metadata`.
        NotFound: this server lets no client register.
        UnsupportedMedia, TooLarge: the body is not what it should be.
    """
    check_json(request)
    answer = await server.clients.register(_document(await request.body(MAX_BYTES)))
    decided("register", "allowed", client=answer["client_id"], address=server.attempts.address(request))
    headers = [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
    await request.answer(201, json.dumps(answer).encode(), headers=headers)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise OAuthError("invalid_client_metadata", "The body is not a JSON object.")
    return cast("dict[str, Any]", document)
