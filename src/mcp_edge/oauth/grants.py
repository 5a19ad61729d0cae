"""A user's grant to a client, from its code to its end: one record, and one swap for each thing that happens to it."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_edge.context import User
from mcp_edge.keyring import KeyRing
from mcp_edge.oauth.model import Approval, Client
from mcp_edge.platform import Platform


@dataclass(frozen=True, slots=True)
class Tokens:
    """The answer of /token (RFC 6749 §5.1)."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class ConnectedApp:
    """A live grant, as its user sees it."""

    grant_id: str
    client_id: str
    client_name: str
    scopes: frozenset[str]
    created_at: float
    last_used_at: float


class Grants:
    """All grants. Errors are `OAuthError`s."""

    def __init__(self, platform: Platform, ring: KeyRing) -> None:
        self._platform = platform
        self._ring = ring

    async def approve(self, approval: Approval) -> str:
        """A new grant's authorization code."""
        raise NotImplementedError

    async def redeem(
        self, code: str, client: Client, *, redirect_uri: str | None, verifier: str, resource: str | None
    ) -> Tokens:
        """Tokens for a code, once. A replay ends the family (RFC 6749 §4.1.2, RFC 7636 §4.6)."""
        raise NotImplementedError

    async def refresh(
        self, token: str, client: Client, *, scopes: frozenset[str] | None, resource: str | None
    ) -> Tokens:
        """The next tokens. Reuse within the grace window gets the same answer, after it the family ends."""
        raise NotImplementedError

    async def revoke(self, token: str, client: Client) -> None:
        """End what the token belongs to, if it is this client's (RFC 7009)."""
        raise NotImplementedError

    async def introspect(self, token: str) -> dict[str, object]:
        """RFC 7662 §2.2: the members of an active token, or `{"active": False}`."""
        raise NotImplementedError

    async def user(self, access_token: str, audiences: frozenset[str]) -> User | None:
        """Whose live access token this is, if it is for one of `audiences`. One store read."""
        raise NotImplementedError

    async def of(self, principal: str) -> list[ConnectedApp]:
        """The user's live grants, the latest first."""
        raise NotImplementedError

    async def end(self, principal: str, grant_id: str) -> None:
        """End one grant of the user; another's is left alone."""
        raise NotImplementedError

    async def end_all(self, principal: str) -> None:
        """End every grant of the user."""
        raise NotImplementedError
