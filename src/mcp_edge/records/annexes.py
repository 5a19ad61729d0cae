"""What a request brought along, stored once beside the record whose lease is renewed every few seconds.

So a heartbeat costs the same whatever was sent. A small part stays in its record and costs nothing of its own. It knows
no request.
"""

from __future__ import annotations

from collections.abc import Iterable

from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.records.keys import ANNEX

SMALL_BYTES = 512
"""What is not larger than this stays in its record: a second record would cost more than renewing it."""
_FRESH_S = 3600
"""Seconds by which an annex outlives a record that is written at the same time, so that it is seldom renewed."""


class Annexes:
    """The annexes of one record, by name."""

    def __init__(self, platform: Platform, record: str, ttl_s: float, since: float) -> None:
        """`ttl_s` is the life of the record; none of its annexes is older than `since`, in epoch seconds."""
        self._store = platform.atomics
        self._clock = platform.clock
        self._prefix = f"{ANNEX}{record}/"
        self._ttl_s = ttl_s + _FRESH_S
        self._since = since

    async def put(self, name: str, value: bytes) -> None:
        """Store an annex, before the record that names it."""
        await self._store.create(self._prefix + name, value, nonce=mint(), ttl_s=self._ttl_s)

    async def get(self, name: str) -> bytes | None:
        """The annex, or None when there is none (any more)."""
        entry = await self._store.get(self._prefix + name)
        return None if entry is None else entry.value

    async def delete(self, name: str) -> None:
        """Remove the annex."""
        await self._store.delete(self._prefix + name)

    async def keep(self, names: Iterable[str]) -> int:
        """Let the annexes live as long as their record, which has just been renewed; the bytes written for it."""
        if self._clock() - self._since < _FRESH_S:
            return 0
        self._since, written = self._clock(), 0
        for name in names:
            key = self._prefix + name
            entry = await self._store.get(key)
            if entry is not None:
                await self._store.swap(key, entry.value, version=entry.version, nonce=mint(), ttl_s=self._ttl_s)
                written += len(entry.value)
        return written
