"""Users' accounts at an upstream: their tokens, sealed in the store, refreshed when they expire. It knows no tool.

Each principal has one record in the `AtomicStore`. A refresh token that rotates may be used once, so whoever refreshes
takes a lease in the record, and every other request waits for the new tokens.
It is no `Lease` of `records`: the record is sealed, it outlives the lease, and whoever connects the account anew
writes it without owning anything.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from mcp_edge.audit import decided
from mcp_edge.auth.identity.provider import RedirectProvider, SignInRefused, TokenSet
from mcp_edge.errors import UpstreamError
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.signing import mint
from mcp_edge.records.polling import Backoff
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash

FORMAT = 1
LIFE_S = 180 * 86400
"""Seconds for which an account is kept after its last use; renewed when half of them are gone."""
EARLY_S = 60
"""Seconds before its end at which an access token is refreshed: a call takes time, and clocks differ."""
LEASE_S = 20
"""Seconds that a refresh may take; longer than the provider is waited for."""
GONE_S = 60
"""Seconds for which it is known that an account was forgotten: a write that comes late must not bring it back."""

_PURPOSE = "account"


@dataclass(frozen=True, slots=True)
class _Account:
    """One version of an account's record. Times are epoch seconds."""

    tokens: TokenSet | None
    """None: forgotten."""
    used_at: float
    leased_until: float = 0
    version: int = 0

    def live(self, now: float) -> bool:
        assert self.tokens is not None
        return self.tokens.expires_at is None or self.tokens.expires_at - EARLY_S > now


class LinkedAccounts:
    """The linked accounts of all users at one provider, one for each principal."""

    def __init__(self, platform: Platform, ring: KeyRing, provider: RedirectProvider) -> None:
        self._platform = platform
        self._store = platform.atomics
        self._ring = ring
        self.provider = provider
        """Whose accounts they are."""

    async def save(self, principal: str, tokens: TokenSet) -> None:
        """Keep the tokens, in place of older ones."""
        key, sealed = _key(principal), self._seal(principal, _Account(tokens, self._platform.clock()))
        while not await upsert(self._store, key, lambda _: sealed, ttl_s=LIFE_S):
            pass

    async def token(self, principal: str) -> str | None:
        """A live access token, refreshed if need be; None when the user has no linked account (any more).

        Raises:
            UpstreamError: the provider cannot be reached.
        """
        account = await self._read(principal)
        if account is None or account.tokens is None:
            return None
        now = self._platform.clock()
        if not account.live(now):
            return await self._refreshed(principal, account.tokens.access_token)
        if not 0 <= now - account.used_at < LIFE_S / 2:
            await self._write(principal, replace(account, used_at=now))  # if another write came first, it renewed it
        return account.tokens.access_token

    async def renewed(self, principal: str, refused: str) -> str | None:
        """An access token other than the one that the upstream has `refused`; None when there is none any more.

        What cannot be refreshed is forgotten.

        Raises:
            UpstreamError: the provider cannot be reached.
        """
        return await self._refreshed(principal, refused)

    async def connected(self, principal: str) -> bool:
        """Whether the user has a linked account."""
        account = await self._read(principal)
        return account is not None and account.tokens is not None

    async def forget(self, principal: str, *, refused: str = "") -> None:
        """Remove the tokens; only those with the access token `refused`, if one is named."""
        while (account := await self._read(principal)) is not None and account.tokens is not None:
            if refused and account.tokens.access_token != refused:
                return
            if await self._drop(principal, account):
                return

    async def _refreshed(self, principal: str, unfit: str) -> str | None:
        """A token other than `unfit`, got by whoever has the lease."""
        backoff = Backoff(self._platform)
        while True:
            await backoff.next()
            account = await self._read(principal)
            if account is None or account.tokens is None:
                return None
            if account.tokens.access_token != unfit:
                return account.tokens.access_token
            now = self._platform.clock()
            if account.leased_until > now:
                continue  # somebody is refreshing it
            if not account.tokens.refresh_token:
                if await self._drop(principal, account):
                    return None
                continue
            leased = replace(account, leased_until=now + LEASE_S)
            version = await self._write(principal, leased)
            if version:
                return await self._refresh(principal, replace(leased, version=version))

    async def _refresh(self, principal: str, account: _Account) -> str | None:
        """Ask the provider, holding the lease."""
        assert account.tokens is not None
        try:
            tokens = await self.provider.refresh(account.tokens)
        except SignInRefused as e:
            await self._drop(principal, account)
            decided("account", "refused", principal=principal, reason=e.reason)
            return None
        except UpstreamError:
            await self._write(principal, replace(account, leased_until=0))
            raise
        if not await self._write(principal, _Account(tokens, self._platform.clock(), version=account.version)):
            return await self.token(principal)  # the user connected the account anew meanwhile
        return tokens.access_token

    def _context(self, key: str, principal: str) -> str:
        """What a record is sealed for: tokens of one provider are never sent to the one that took its place."""
        return f"{key}|{self.provider.issuer}|{principal}"

    async def _drop(self, principal: str, account: _Account) -> bool:
        return bool(await self._write(principal, _Account(None, account.used_at, version=account.version)))

    async def _read(self, principal: str) -> _Account | None:
        key = _key(principal)
        entry = await self._store.get(key)
        opened = entry and self._ring.open(_PURPOSE, entry.value, context=self._context(key, principal))
        if entry is None or opened is None:
            return None
        record = json.loads(opened)
        if record.pop("v") != FORMAT:
            return None
        tokens = record.pop("tokens")
        return _Account(None if tokens is None else TokenSet(**tokens), **record, version=entry.version)

    async def _write(self, principal: str, account: _Account) -> int | None:
        """The new version, or None: another write came first."""
        key, sealed = _key(principal), self._seal(principal, account)
        ttl_s = GONE_S if account.tokens is None else LIFE_S
        return await self._store.swap(key, sealed, version=account.version, nonce=mint(), ttl_s=ttl_s)

    def _seal(self, principal: str, account: _Account) -> bytes:
        record = {
            "v": FORMAT,
            "tokens": None if account.tokens is None else asdict(account.tokens),
            "used_at": account.used_at,
            "leased_until": account.leased_until,
        }
        context = self._context(_key(principal), principal)
        return self._ring.seal(_PURPOSE, json.dumps(record).encode(), context=context)


def _key(principal: str) -> str:
    return f"account/{short_hash(principal)}"
