"""Which client is asking: `none`, `client_secret_basic` or `client_secret_post` (RFC 6749 §2.3, §3.2.1)."""

from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error
from urllib.parse import unquote_plus

from mcp_edge.auth.server.endpoints.form import Form
from mcp_edge.auth.server.grants.token_format import digest
from mcp_edge.auth.server.model import Client, OAuthError
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.protocol.request import Request

_CHALLENGE = {"www-authenticate": 'Basic realm="mcp-edge", charset="UTF-8"'}


async def authenticate_client(server: AuthorizationServer, request: Request, form: Form) -> Client:
    """The client, authenticated if it is confidential.

    Which of the two ways a secret comes is the client's choice: both prove the same, and clients choose by what the
    metadata offers.

    Raises:
        OAuthError: `invalid_request`: no client, or two ways at once. `invalid_client`: unknown, or not proven.
    """
    client_id, secret, basic = _presented(request, form)
    client = await server.clients.find(client_id)
    if client is None:
        raise _invalid(basic, f"unknown client {client_id}")
    if client.auth_method == "none" and secret:
        raise _invalid(basic, f"{client_id} is public, but sent a secret")
    if client.auth_method != "none" and not (secret and hmac.compare_digest(client.secret_hash, digest(secret))):
        raise _invalid(basic, f"wrong secret of {client_id}" if secret else f"no secret of {client_id}")
    return client


def _presented(request: Request, form: Form) -> tuple[str, str, bool]:
    """The client's id, its secret if it sent one, and whether HTTP Basic was used."""
    header = request.raw.get(b"authorization")
    named = form.get("client_id")
    if header is None:
        return form.need("client_id"), form.get("client_secret") or "", False
    client_id, secret = _basic(header)
    if form.get("client_secret") is not None or named not in (None, client_id):
        raise OAuthError("invalid_request", "A client authenticates in one way at a time (RFC 6749 §2.3).")
    return client_id, secret, True


def _basic(header: bytes) -> tuple[str, str]:
    """The two halves of a Basic header, each form-encoded (RFC 6749 §2.3.1)."""
    scheme, _, credentials = header.partition(b" ")
    if scheme.lower() != b"basic":
        raise _invalid(True, "the Authorization header is not Basic")
    try:
        client_id, colon, secret = b64decode(credentials.strip(b" \t"), validate=True).decode().partition(":")
        if colon:
            return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (Error, ValueError):
        pass
    raise _invalid(True, "the Basic header cannot be read")


def _invalid(basic: bool, reason: str) -> OAuthError:
    """401, which names the scheme to whoever used it (RFC 6749 §5.2)."""
    headers = _CHALLENGE if basic else {}
    return OAuthError("invalid_client", "The client is not known or not authenticated.", status=401, reason=reason,
                      headers=headers)  # fmt: skip
