"""The next tokens of a grant, and the same tokens again for a client that lost the answer. It knows no HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mcp_edge.audit import decided
from mcp_edge.auth.server.grants.access_tokens import AccessTokens
from mcp_edge.auth.server.grants.record import Issued
from mcp_edge.auth.server.grants.store import GrantStore, StoredGrant
from mcp_edge.auth.server.grants.token_format import RefreshToken, digest
from mcp_edge.auth.server.model import OAuthError
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing

MOST_ACCESS_TOKENS = 16
"""Live access tokens of one grant. The oldest is removed for the next."""
_SKEW_S = 60
"""Seconds by which another instance's clock may be late, and take a token for alive."""
_ANSWER = "answer kept for the grace window"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The answer of /token (RFC 6749 §5.1)."""

    access_token: str
    refresh_token: str
    """Empty for a client that is not registered for refresh tokens."""
    expires_in_s: int
    scopes: frozenset[str]


class Issuing:
    """Issues the tokens of a grant, one swap of its record for each answer."""

    def __init__(self, platform: Platform, ring: KeyRing, store: GrantStore, access: AccessTokens) -> None:
        self._settings = platform.settings
        self._clock = platform.clock
        self._ring = ring
        self._store = store
        self._access = access

    async def advance(
        self,
        stored: StoredGrant,
        successor: RefreshToken | None,
        scopes: frozenset[str],
        audience: str,
        presented: RefreshToken | None = None,
    ) -> Tokens | None:
        """The next tokens of a grant; None when another writer changed the grant first."""
        grant, now, settings = stored.grant, self._clock(), self._settings
        alive = tuple(token for token in grant.issued if token.expires_at + _SKEW_S > now)
        for token in alive[: -MOST_ACCESS_TOKENS + 1]:  # first: what is entered nowhere would outlive the grant
            await self._access.remove(token.digest)
        access, access_digest = await self._access.issue(
            grant.user, client=grant.client_id, client_kind=grant.client_kind, redirect_uri=grant.redirect_uri,
            grant=stored.key, scopes=scopes, audience=audience, ttl_s=settings.access_token_ttl_s,
        )  # fmt: skip
        expires_at = now + settings.access_token_ttl_s
        life_s = settings.access_token_ttl_s if successor is None else settings.refresh_token_ttl_s
        answer = {"access": access, "refresh": str(successor or ""), "expires_at": expires_at,
                  "scopes": sorted(scopes), "audience": audience}  # fmt: skip
        following = replace(
            grant,
            stage="live",
            used_at=now,
            expires_at=now + life_s,
            family=digest(successor.family) if successor else "",
            refresh=digest(successor.secret) if successor else "",
            previous=digest(presented.secret) if presented else "",
            grace_until=now + settings.refresh_grace_s if presented else 0,
            answer=self._seal(stored.key, presented, answer) if presented else "",
            issued=(*alive[-MOST_ACCESS_TOKENS + 1 :], Issued(access_digest, expires_at)),
        )
        await self._store.enlist(stored.key, following, life_s)
        if not await self._store.replace(stored, following):
            await self._access.remove(access_digest)
            return None
        what = "refresh" if presented else "code"
        decided(f"token by {what}", "allowed", principal=grant.user.principal, client=grant.client_id)
        return Tokens(access, str(successor or ""), settings.access_token_ttl_s, scopes)

    def answer_again(
        self, stored: StoredGrant, presented: RefreshToken, allowed: frozenset[str], audience: str
    ) -> Tokens:
        """The answer that the previous refresh token got, within the grace window. Its scopes are at most `allowed`:
        the scopes of the present request, with all that they imply."""
        sealed = bytes.fromhex(stored.grant.answer)
        data = self._ring.open(_ANSWER, sealed, context=stored.key, secret=str(presented).encode())
        if data is None:
            raise refused("the answer was sealed under a key that is gone")
        kept = json.loads(data)
        if kept["audience"] != audience:
            raise OAuthError("invalid_target", "These tokens are for another resource.")
        if not allowed.issuperset(kept["scopes"]):
            raise OAuthError("invalid_scope", "These tokens were issued with more scopes.")
        decided("token by refresh", "allowed", principal=stored.grant.user.principal, client=stored.grant.client_id,
                reason="the same answer again")  # fmt: skip
        left_s = max(0, int(kept["expires_at"] - self._clock()))
        return Tokens(kept["access"], kept["refresh"], left_s, frozenset(kept["scopes"]))

    def _seal(self, key: str, presented: RefreshToken, answer: Mapping[str, object]) -> str:
        data = json.dumps(answer, separators=(",", ":")).encode()
        return self._ring.seal(_ANSWER, data, context=key, secret=str(presented).encode()).hex()


def refused(reason: str) -> OAuthError:
    """One public sentence for every reason; the reason is in the log."""
    return OAuthError("invalid_grant", "This code or token is not valid here, or not any more.", reason=reason)
