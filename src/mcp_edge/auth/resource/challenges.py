"""The challenges to a request without the right credential: `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1, MCP
2026-07-28 authorization). Pure: it knows no token and no store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from mcp_edge.errors import Forbidden, Unauthenticated
from mcp_edge.protocol.urls import Urls

_NOT_QUOTABLE = re.compile(r"[^\x20-\x7e]|[\"\\]")
_REFUSED = -32000
_NO_ERROR: Mapping[str, str] = MappingProxyType({})


def missing(urls: Urls, path: str, scopes: Iterable[str]) -> Unauthenticated:
    """401 for a request to `path` without a credential, which is no error (RFC 6750 §3.1). `scopes` are those to ask
    for at first."""
    return Unauthenticated(
        "Authorization is required: send a bearer token.",
        code=_REFUSED,
        headers=_challenge(urls, path, scopes),
    )


def invalid(urls: Urls, path: str, scopes: Iterable[str], description: str = "") -> Unauthenticated:
    """401 for a credential that is not valid at `path`. Unknown, expired, revoked and misdirected ones look the same.
    `description` is public."""
    description = description or "The access token is not valid here."
    return Unauthenticated(
        description,
        code=_REFUSED,
        headers=_challenge(urls, path, scopes, {"error": "invalid_token", "error_description": description}),
    )


def insufficient(urls: Urls, path: str, scopes: Iterable[str], description: str = "") -> Forbidden:
    """403 for a credential that lacks scopes of an operation at `path`. `scopes` are those to ask for: all scopes of
    the operation (MCP 2026-07-28 authorization, Scope Challenge Handling), and those that the credential has."""
    description = description or "The access token does not allow this."
    return Forbidden(
        description,
        code=_REFUSED,
        headers=_challenge(urls, path, scopes, {"error": "insufficient_scope", "error_description": description}),
    )


def metadata_url(urls: Urls, path: str) -> str:
    """The URL of the metadata of the resource at `path` (RFC 9728 §3.1). A path that is no endpoint gets that of
    /mcp."""
    endpoint = "/sse" if path in ("/sse", "/messages") else "/mcp"
    return urls.well_known("oauth-protected-resource", endpoint)


def _challenge(urls: Urls, path: str, scopes: Iterable[str], error: Mapping[str, str] = _NO_ERROR) -> dict[str, str]:
    """The headers; no parameter is empty (RFC 6750 §3 wants at least one scope where it names any)."""
    parameters = {**error, "resource_metadata": metadata_url(urls, path), "scope": " ".join(sorted(scopes))}
    listed = ", ".join(f'{name}="{_NOT_QUOTABLE.sub(" ", value)}"' for name, value in parameters.items() if value)
    return {"www-authenticate": f"Bearer {listed}", "cache-control": "no-store"}
