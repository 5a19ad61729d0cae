"""POST /token: codes and refresh tokens become access tokens (RFC 6749 §3.2, RFC 7636, RFC 8707)."""

from __future__ import annotations

import json
import logging
import re

from mcp_edge.auth.server.endpoints.client_authentication import authenticate_client
from mcp_edge.auth.server.endpoints.form import Form, read_form
from mcp_edge.auth.server.grants.grants import Tokens
from mcp_edge.auth.server.model import Client, OAuthError
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import StoreUnavailable
from mcp_edge.protocol.request import Header, Request

logger = logging.getLogger(__name__)

NO_STORE: list[Header] = [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")


async def token(server: AuthorizationServer, request: Request) -> None:
    """Answer with tokens.

    Raises:
        OAuthError: of RFC 6749 §5.2.
    """
    form = await read_form(request)
    client = await authenticate_client(server, request, form)
    try:
        tokens = await _tokens(server, form, client)
    except OAuthError as e:
        e.client = client.id
        raise
    try:
        await server.clients.used(client)
    except StoreUnavailable as e:  # the tokens are issued, and the next refresh tries it again
        logger.warning("request %s: the client %s is not renewed: %s", request.trace_id(), client.id[:200], e)
    await request.answer(200, _json(tokens), headers=NO_STORE)


async def _tokens(server: AuthorizationServer, form: Form, client: Client) -> Tokens:
    grant_type = form.need("grant_type")
    answer = {"authorization_code": _by_code, "refresh_token": _by_refresh}.get(grant_type)
    if answer is None:
        raise OAuthError("unsupported_grant_type", "Send authorization_code or refresh_token.")
    if grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", f"The client is not registered for {grant_type}.")
    return await answer(server, form, client)


async def _by_code(server: AuthorizationServer, form: Form, client: Client) -> Tokens:
    code, verifier = form.need("code"), form.need("code_verifier")
    if not _VERIFIER.fullmatch(verifier):
        raise OAuthError("invalid_grant", "code_verifier has 43 to 128 unreserved characters (RFC 7636 §4.1).")
    return await server.grants.redeem(
        code, client, redirect_uri=form.get("redirect_uri"), verifier=verifier, resource=form.resource()
    )


async def _by_refresh(server: AuthorizationServer, form: Form, client: Client) -> Tokens:
    requested = form.get("scope")
    if requested is not None and not _SCOPE.fullmatch(requested):
        raise OAuthError("invalid_scope", "scope is not a list of scopes (RFC 6749 §3.3).")
    scopes = None if requested is None else frozenset(requested.split(" "))
    return await server.grants.refresh(form.need("refresh_token"), client, scopes=scopes, resource=form.resource())


def _json(tokens: Tokens) -> bytes:
    """RFC 6749 §5.1."""
    members = {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in_s,
        "scope": " ".join(sorted(tokens.scopes)),
    }
    if tokens.refresh_token:
        members["refresh_token"] = tokens.refresh_token
    return json.dumps(members, separators=(",", ":")).encode()
