"""What a client may say of itself (RFC 7591 §2), in a registration, in its own document or in the settings. Pure.

Whoever registers may be lying: what is kept is bounded and printable, and links are http(s). Unknown members are
ignored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from mcp_edge.auth.server.clients import redirect_uris as redirects
from mcp_edge.auth.server.model import AuthMethod, OAuthError

GRANT_TYPES = ("authorization_code", "refresh_token")
AUTH_METHODS: tuple[AuthMethod, ...] = ("none", "client_secret_basic", "client_secret_post")
MAX_REDIRECT_URIS = 20
MAX_NAME_CHARS = 80
_MAX_LINK_CHARS = 2000
_LINKS = ("client_uri", "logo_uri", "tos_uri", "policy_uri", "jwks_uri")
_LINK = re.compile(r"https?://[A-Za-z0-9._~%!$&()*+,;=:-]+(?:[/?#][!-~]*)?")
"""Without brackets, which a reader takes for an IPv6 address and may fail at."""


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """The part of a client's metadata that is used here (RFC 7591 §2)."""

    name: str
    """Empty where the client gave none."""
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    auth_method: AuthMethod | None
    """None where the client left it to the server."""
    uri: str


def read(document: dict[str, Any], schemes: Collection[str]) -> ClientMetadata:
    """What `document` says. `schemes` are the private-use ones that redirect URIs may have.

    Raises:
        OAuthError: `invalid_redirect_uri` or `invalid_client_metadata` (RFC 7591 §3.2.2).
    """
    links = {name: _link(document, name) for name in _LINKS}
    return ClientMetadata(
        name=_name(document),
        redirect_uris=_redirect_uris(document, schemes),
        grant_types=_grant_types(document),
        auth_method=_auth_method(document),
        uri=links["client_uri"],
    )


def clean(text: str) -> str:
    """`text` on one line, without characters that are not seen or that turn the direction of others around."""
    seen = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", text))
    return " ".join(seen.split())[:MAX_NAME_CHARS].rstrip()


def _name(document: dict[str, Any]) -> str:
    name = _given(document, "client_name")
    if not isinstance(name, str):
        raise _invalid("client_name is text.")
    return clean(name[: 4 * MAX_NAME_CHARS])


def _redirect_uris(document: dict[str, Any], schemes: Collection[str]) -> tuple[str, ...]:
    uris = _texts(document, "redirect_uris", error="invalid_redirect_uri")
    if not uris:
        raise OAuthError("invalid_redirect_uri", "At least one redirect URI is needed.")
    if len(uris) > MAX_REDIRECT_URIS:
        raise OAuthError("invalid_redirect_uri", f"At most {MAX_REDIRECT_URIS} redirect URIs are kept.")
    for uri in uris:
        if fault := redirects.fault(uri, schemes):
            raise OAuthError("invalid_redirect_uri", fault)
    return uris


def _grant_types(document: dict[str, Any]) -> tuple[str, ...]:
    """Those that there are; a client is told which of its own it did not get (RFC 7591 §3.2.1)."""
    if "code" not in (_texts(document, "response_types") or ("code",)):
        raise _invalid("Only the response type code is supported.")
    requested = _texts(document, "grant_types") or GRANT_TYPES
    if "authorization_code" not in requested:
        raise _invalid("Only clients with the grant type authorization_code can register.")
    return tuple(kind for kind in GRANT_TYPES if kind in requested)


def _auth_method(document: dict[str, Any]) -> AuthMethod | None:
    requested = _given(document, "token_endpoint_auth_method")
    if requested == "":
        return None
    for method in AUTH_METHODS:
        if requested == method:
            return method
    raise _invalid(f"The authentication methods of clients are {', '.join(AUTH_METHODS)}.")


def _link(document: dict[str, Any], member: str) -> str:
    value = _given(document, member)
    if not isinstance(value, str) or len(value) > _MAX_LINK_CHARS or (value and not _LINK.fullmatch(value)):
        raise _invalid(f"{member} is an http(s) URL of at most {_MAX_LINK_CHARS} characters.")
    return value


def _given(document: dict[str, Any], member: str) -> Any:
    """A member's value; null and empty text are how some clients leave one out."""
    value = document.get(member)
    return "" if value is None else value


def _texts(document: dict[str, Any], member: str, *, error: str = "invalid_client_metadata") -> tuple[str, ...]:
    """A list of texts, each once; empty where it is left out."""
    value: Any = document.get(member)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in cast("list[Any]", value)):
        raise OAuthError(error, f"{member} is a list of texts.")
    return tuple(dict.fromkeys(cast("list[str]", value)))


def _invalid(description: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", description)
