"""The records of grants, and the list of each user's grants. It knows no client and no HTTP.

A write whose answer was lost is repeated once under the same nonce, so it answers as the first did.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from mcp_edge.audit import decided
from mcp_edge.auth.server.grants.access_tokens import AccessTokens
from mcp_edge.auth.server.grants.record import Grant, dump, load
from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.signing import mint
from mcp_edge.text.hashing import short_hash

T = TypeVar("T")

MOST_GRANTS = 50
"""Grants of one user. For the next one, the grant that was used longest ago ends."""
ENDED_TTL_S = 3600
_PAGE = 100


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """A live grant as it was read, with the version that a replacement must name."""

    key: str
    """The hash of its id."""
    grant: Grant
    version: int


class GrantStore:
    """Creates, finds, replaces and ends grants. One swap of the record decides who changed it."""

    def __init__(self, platform: Platform, ring: KeyRing, access: AccessTokens) -> None:
        self._access = access
        self._records = platform.records
        self._atomics = platform.atomics
        self._clock = platform.clock
        self._ring = ring

    async def create(self, grant_id: str, grant: Grant) -> str:
        """Store a new grant, list it for its user, and return its key. Listing it now lets a sign-out everywhere end a
        grant whose code is not redeemed yet."""
        key = short_hash(grant_id)
        value, nonce, ttl_s = dump(self._ring, key, grant), mint(), grant.expires_at - self._clock()
        if not await _twice(lambda: self._atomics.create(f"grant/{key}", value, nonce=nonce, ttl_s=ttl_s)):
            raise RuntimeError("two grants have one id")
        await self.enlist(key, grant, ttl_s)
        return key

    async def find(self, grant_id: str) -> StoredGrant | None:
        """The grant of this id, if it is alive."""
        return await self.get(short_hash(grant_id))

    async def get(self, key: str) -> StoredGrant | None:
        """The grant of this key, if it is alive."""
        entry = await self._atomics.get(f"grant/{key}")
        grant = None if entry is None else load(self._ring, key, entry.value)
        if entry is None or grant is None or grant.expires_at <= self._clock():
            return None
        return StoredGrant(key, grant, entry.version)

    async def replace(self, stored: StoredGrant, grant: Grant | None) -> bool:
        """Put `grant` (None: its end) in place of what was read. False when another writer came first."""
        value, nonce = dump(self._ring, stored.key, grant), mint()
        ttl_s = ENDED_TTL_S if grant is None else grant.expires_at - self._clock()
        swapped = await _twice(
            lambda: self._atomics.swap(f"grant/{stored.key}", value, version=stored.version, nonce=nonce, ttl_s=ttl_s)
        )
        return swapped is not None

    async def enlist(self, key: str, grant: Grant, ttl_s: float) -> None:
        """List the grant for its user, for `ttl_s` seconds."""
        await self._records.put(_roll(grant.user.principal, key), b"", ttl_s=ttl_s)

    async def finish(self, key: str, why: str) -> None:
        """End a grant and everything that was handed out for it."""
        while (stored := await self.get(key)) is not None:
            for token in stored.grant.issued:
                await self._access.remove(token.digest)
            if await self.replace(stored, None):
                principal = stored.grant.user.principal
                decided("end of a grant", "allowed", principal=principal, client=stored.grant.client_id, reason=why)
                await self._strike(principal, key)

    async def of(self, principal: str) -> list[StoredGrant]:
        """The user's live grants, the one used latest first. The list drops those that have ended."""
        found: list[StoredGrant] = []
        for key in await self._listed(principal):
            stored = await self.get(key)
            if stored is None:
                await self._strike(principal, key)
            elif stored.grant.user.principal == principal:
                found.append(stored)
        return sorted(found, key=lambda stored: stored.grant.used_at, reverse=True)

    async def make_room(self, principal: str, key: str) -> None:
        """End a user's oldest grants beyond `MOST_GRANTS`, so that the grant under `key` can stay."""
        if len(await self._listed(principal)) <= MOST_GRANTS:
            return
        others = [stored for stored in await self.of(principal) if stored.key != key]
        for stored in others[MOST_GRANTS - 1 :]:
            await self.finish(stored.key, "its user has too many")

    async def _strike(self, principal: str, key: str) -> None:
        """Take a grant off a user's list."""
        await self._records.delete(_roll(principal, key))

    async def _listed(self, principal: str) -> list[str]:
        """The keys on a user's list; some may have ended."""
        prefix, found = _roll(principal, ""), list[str]()
        while True:
            page = await self._records.list(prefix, after=found[-1] if found else "", limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return [name.removeprefix(prefix) for name in found]


def _roll(principal: str, key: str) -> str:
    return f"grants/{short_hash(principal)}/{key}"


async def _twice(write: Callable[[], Awaitable[T]]) -> T:
    try:
        return await write()
    except StoreUnavailable:
        return await write()
