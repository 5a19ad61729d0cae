"""Annexes: large parts of a leased record, each stored once under a key of its own.

The record itself is written with every heartbeat. Its large parts are not, so a heartbeat costs the same whatever a
client has sent. A small part stays in the record. An annex knows nothing of what is in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.records.keys import ANNEX

SMALL_BYTES = 512
"""A part of at most so many bytes stays in its record: a second record would cost more than renewing it."""
_FRESH_S = 3600
"""Seconds by which an annex outlives its record when both are written at once. So an annex is seldom renewed."""


class Annexes:
    """The annexes of one record, by name."""

    def __init__(self, platform: Platform, record: str, ttl_s: float, since: float) -> None:
        """`record` names the record: a stream's id or a session. `ttl_s` is the record's life in seconds. No annex is
        older than `since` (epoch seconds)."""
        self._store = platform.atomics
        self._clock = platform.clock
        self._prefix = f"{ANNEX}{record}/"
        self._ttl_s = ttl_s + _FRESH_S
        self._since = since

    async def put(self, name: str, value: bytes) -> None:
        """Store an annex. Call this before the record that names the annex is written."""
        await self._store.create(self._prefix + name, value, nonce=mint(), ttl_s=self._ttl_s)

    async def get(self, name: str) -> bytes | None:
        """The annex. None where there is none, or none any more."""
        entry = await self._store.get(self._prefix + name)
        return None if entry is None else entry.value

    async def delete(self, name: str) -> None:
        """Remove the annex."""
        await self._store.delete(self._prefix + name)

    async def keep(self, names: Iterable[str]) -> int:
        """Let the named annexes live as long as their record, which was renewed just now.

        Returns:
            The number of bytes that were written for it: mostly 0.
        """
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
