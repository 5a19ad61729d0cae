"""What the parts of the authorization server hand to each other. Pure data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mcp_edge.errors import NO_HEADERS, CallerError
from mcp_edge.user import User

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
Kind = Literal["static", "cimd", "dcr"]
"""How a client became known: settings, its own document, or registration."""
DOCUMENT_SCHEME = "https://"
"""The beginning of the id of a client with a document of its own."""
REGISTERED_ID = re.compile(r"dcr_[0-9a-f]{32}")
"""The id of a client that registered itself."""
CLIENT_TTL_S = 90 * 86400
"""Seconds for which a client that got tokens is kept; renewed when half of them are gone."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client, however it became known."""

    id: str
    name: str
    """Empty where it gave itself none."""
    redirect_uris: tuple[str, ...]
    kind: Kind
    auth_method: AuthMethod = "none"
    secret_hash: str = ""
    """SHA-256 of the client's secret in hex; empty for a public client."""
    uri: str = ""
    """Its home page, http(s), shown on the consent page."""
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    scopes: frozenset[str] | None = None
    """All that it may ask for (RFC 7591 §2, `scope`), where the settings say so; what others say binds nobody."""
    used_at: float | None = field(default=None, compare=False)
    """When it got tokens, to half of `CLIENT_TTL_S`; None for never, and for clients of the settings."""

    @property
    def recorded_kind(self) -> str:
        """The kind as records have it: empty where the form of the id says the same."""
        return "" if self.kind == kind_by_form(self.id) else self.kind


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A valid request to /authorize (RFC 6749 §4.1.1, RFC 7636, RFC 8707)."""

    client_id: str
    redirect_uri: str
    """As it was sent; to be used for the answer."""
    state: str
    code_challenge: str
    resource: str
    """One of ours: the public URL, `…/mcp` or `…/sse`. The public URL when the client named none."""
    scopes: frozenset[str]
    client_kind: str = ""
    """`Client.recorded_kind`."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a user has granted: the scopes may be fewer than those asked for."""

    request: AuthorizationRequest
    client_name: str
    user: User
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class ConnectedApp:
    """A live grant, as its user sees it."""

    grant_id: str
    """Names the grant, and is no part of its tokens."""
    client_id: str
    client_name: str
    redirect_uri: str
    scopes: frozenset[str]
    created_at: float
    last_used_at: float
    """When it last got tokens."""


def kind_by_form(client_id: str) -> Kind:
    """The kind that the form of an id says. A client of the settings may have an id of any form."""
    if client_id.startswith(DOCUMENT_SCHEME):
        return "cimd"
    return "dcr" if REGISTERED_ID.fullmatch(client_id) else "static"


class OAuthError(CallerError):
    """An error of RFC 6749 §5.2 or of an extension. `error` is its code, `message` its public description; `reason` is
    for the log alone."""

    def __init__(
        self,
        error: str,
        description: str,
        *,
        status: int = 400,
        reason: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(description, headers=headers)
        self.error = error
        self.status = status
        self.reason = reason or description
        self.client = ""
        """The id of the client that was told so, once it is known."""

    def __str__(self) -> str:
        return f"{self.error}: {self.message}"
