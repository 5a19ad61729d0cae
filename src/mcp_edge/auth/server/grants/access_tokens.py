"""Access tokens: opaque, kept under their hash, readable only with the token itself and the key ring.

It knows no grant's record: who issues a token enters it there, and removes it when the grant ends.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.grants import token_format
from mcp_edge.auth.server.grants.record import dump_user, load_user
from mcp_edge.errors import EdgeError
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.user import User

FORMAT = 1
_PURPOSE = "access token"
_KNOWN = 1024


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A live access token, as it was issued."""

    user: User
    """With the scopes, their closure, the client and the grant."""
    scopes: frozenset[str]
    """As granted, without the scopes that these imply."""
    audience: str
    issued_at: float
    expires_at: float
    refusal: str
    """Why its client is not accepted any more; empty while the client is."""


class ClientNotAccepted(EdgeError):
    """A live access token whose client this server accepts no longer. The reason is for the log."""

    def __init__(self, user: User, reason: str) -> None:
        super().__init__(reason)
        self.user = user


class AccessTokens:
    """Issues, finds and removes access tokens."""

    def __init__(
        self,
        platform: Platform,
        ring: KeyRing,
        scopes: Callable[[], Awaitable[Scopes]],
        refusal: Callable[[str, str, str], str],
    ) -> None:
        """`refusal` is `AcceptedClients.refusal`."""
        self._refusal = refusal
        self._records = platform.records
        self._clock = platform.clock
        self._ring = ring
        self._scopes = scopes
        # By the record's key, which is the token's hash: a pure function of the settings, the record's bytes and the
        # token, so it cannot go stale. The store is still read for each request.
        self._opened: dict[str, tuple[bytes, AccessToken]] = {}

    async def issue(
        self,
        user: User,
        *,
        client: str,
        client_kind: str,
        redirect_uri: str,
        grant: str,
        scopes: frozenset[str],
        audience: str,
        ttl_s: int,
    ) -> tuple[str, str]:
        """Issue and store a new token that lives for `ttl_s` seconds: the token, and its digest. `client_kind` and
        `redirect_uri` are the grant's."""
        secret = (token_format.ACCESS + token_format.new_secret()).encode()
        token = (secret + self._ring.tag(_PURPOSE, secret)).decode()
        digest = token_format.digest(token)
        now = self._clock()
        record = {
            "v": FORMAT,
            "user": dump_user(user),
            "client": client,
            "client_kind": client_kind,
            "redirect_uri": redirect_uri,
            "grant": grant,
            "scopes": sorted(scopes),
            "audience": audience,
            "issued_at": now,
            "expires_at": now + ttl_s,
        }
        data = json.dumps(record, separators=(",", ":")).encode()
        sealed = self._ring.seal(_PURPOSE, data, context=digest, secret=token.encode())
        await self._records.put(f"token/{digest}", sealed, ttl_s=ttl_s)
        return token, digest

    async def find(self, token: bytes) -> AccessToken | None:
        """The live token of these bytes, or None. It costs one read of the store, or none if this server cannot have
        issued the token."""
        parts = token_format.parse_access_token(token)
        if parts is None:
            return None
        key = f"token/{sha256(token).hexdigest()}"
        if key not in self._opened and not self._ring.tagged(_PURPOSE, *parts):
            return None
        raw = await self._records.get(key)
        if raw is None:
            return None
        known = self._opened.get(key)
        found = known[1] if known is not None and known[0] == raw else await self._open(key, raw, token)
        return found if found is not None and found.expires_at > self._clock() else None

    async def remove(self, digest: str) -> None:
        """End a token."""
        await self._records.delete(f"token/{digest}")
        self._opened.pop(f"token/{digest}", None)

    async def remove_rest(self, token: bytes) -> None:
        """Remove a token that `find` does not know any more. A removal that broke off may have left parts of it."""
        parts = token_format.parse_access_token(token)
        if parts is not None and self._ring.tagged(_PURPOSE, *parts):
            await self.remove(sha256(token).hexdigest())

    async def _open(self, key: str, raw: bytes, token: bytes) -> AccessToken | None:
        data = self._ring.open(_PURPOSE, raw, context=key.removeprefix("token/"), secret=token)
        if data is None:
            return None
        record: dict[str, Any] = json.loads(data)
        if record["v"] != FORMAT:
            return None
        scopes = frozenset[str](record["scopes"])
        allowed = (await self._scopes()).closure(scopes)
        user = replace(load_user(record["user"]), scopes=allowed, client=record["client"], grant=record["grant"])
        # A release before these two were recorded issued it, where they are absent.
        refusal = self._refusal(record["client"], record.get("client_kind", ""), record.get("redirect_uri", ""))
        found = AccessToken(user, scopes, record["audience"], record["issued_at"], record["expires_at"], refusal)
        if len(self._opened) >= _KNOWN:
            self._opened.clear()
        self._opened[key] = raw, found
        return found
