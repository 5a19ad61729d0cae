"""What one principal may hold at once, counted in the store so that every instance counts the same."""

from __future__ import annotations

from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.storage.ports import AtomicStore
from mcp_edge.tokens import mint, short_hash

HOLD_S = 60
"""Seconds for which a hold counts without being renewed: what a killed instance held is free again after it."""


class Hold:
    """One held thing. Take it, renew it within `HOLD_S`, release it when done."""

    def __init__(self, store: AtomicStore, kind: str, prefix: str, key: str) -> None:
        self._store = store
        self._kind = kind
        self._prefix = prefix
        self._key = key
        self._version = 0

    async def take(self, most: int) -> None:
        """Count from now on.

        Raises:
            TooMany: the principal holds `most` already.
        """
        held = {entry.key: entry.version for entry in await self._store.read(self._prefix, limit=most)}
        if len(held) >= most and self._key not in held:
            raise TooMany(f"Too many open {self._kind} (at most {most}).", headers={"retry-after": "5"})
        self._version = held.get(self._key, 0)
        await self.renew()

    async def renew(self) -> None:
        """Count for another `HOLD_S` seconds."""
        version = None
        if self._version:
            version = await self._store.swap(self._key, b"", version=self._version, nonce=mint(), ttl_s=HOLD_S)
        if version is None:  # not yet there, or expired while this instance was asleep
            await self._store.create(self._key, b"", nonce=mint(), ttl_s=HOLD_S)
            version = 1
        self._version = version

    async def release(self) -> None:
        """Count no more."""
        await self._store.delete(self._key)


class Quotas:
    """Held streams, open questions and logged bytes of each principal."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._store = platform.atomics

    def place(self, kind: str, principal: str, name: str = "") -> Hold:
        """One more `kind`, not yet counted. What has a `name` counts once: a client that comes back from an instance
        that died takes over its own hold, and is not refused because of it.
        """
        prefix = f"hold/{short_hash(principal)}/{kind}/"
        return Hold(self._store, kind, prefix, prefix + (short_hash(name) if name else mint()))

    async def hold(self, kind: str, principal: str, most: int, name: str = "") -> Hold:
        """Hold one more `kind`, as `place` names it.

        Raises:
            TooMany: the principal holds `most` already.
        """
        hold = self.place(kind, principal, name)
        await hold.take(most)
        return hold

    async def may_log(self, principal: str) -> bool:
        """Whether the principal may log more bytes of event streams in this hour."""
        entry = await self._store.get(self._spent(principal))
        return entry is None or int(entry.value) < self._platform.settings.max_log_bytes

    async def logged(self, principal: str, size: int) -> None:
        """Count `size` logged bytes. A count lost to a race is a quota slightly too wide, never an error."""
        key = self._spent(principal)
        for _ in range(5):
            entry = await self._store.get(key)
            if entry is None:
                done = await self._store.create(key, b"%d" % size, nonce=mint(), ttl_s=7200)
            else:
                total = b"%d" % (int(entry.value) + size)
                done = await self._store.swap(key, total, version=entry.version, nonce=mint(), ttl_s=7200)
            if done:
                return

    def _spent(self, principal: str) -> str:
        return f"logged/{short_hash(principal)}/{int(self._platform.clock() // 3600)}"
