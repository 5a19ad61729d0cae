"""Room for clients that got no tokens yet, in sum: whoever brings a new one, the oldest of them gives way.

Anybody can bring clients, from however many networks. So what is kept of them lies in a ring of places of one size: a
client takes as many places as its record fills, and who had them before is forgotten. A client that got tokens has a
record of its own, which nothing here touches.
"""

from __future__ import annotations

import json

from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.records.upsert import upsert

PLACE_BYTES = 1024
PLACES = 4096
"""4 MiB in sum, and as many clients at most."""
_NEXT = "unused/next"
_LIFE_S = 2 * 86400
"""Longer than any unused client is kept: then the numbers may begin anew."""


class UnusedClients:
    """The ring of places for clients without tokens, whether they registered or have documents."""

    def __init__(self, platform: Platform) -> None:
        self._records = platform.records
        self._atomics = platform.atomics

    async def admit(self, key: str, size: int) -> int:
        """Take places for a record of `size` bytes under `key`: the number of the first place. The record must name it
        as `place`.

        Raises:
            TooMany: so many come at the same time that it cannot be counted.
        """
        count = min(max(1, -(-size // PLACE_BYTES)), PLACES)
        first = await self._numbers(count)
        for number in range(first, first + count):
            slot = f"unused/{number % PLACES}"
            before = await self._records.get(slot)
            if before is not None:
                await self._forget(*json.loads(before))
            await self._records.put(slot, json.dumps([key, first]).encode(), ttl_s=_LIFE_S)
        return first

    async def is_old(self, place: int | None) -> bool:
        """Whether half of the ring has been taken since that place was."""
        entry = await self._atomics.get(_NEXT)
        return place is None or entry is None or int(entry.value) - place > PLACES // 2

    async def _numbers(self, count: int) -> int:
        first = 0

        def advance(value: bytes | None) -> bytes:
            nonlocal first
            first = int(value or 0)
            return b"%d" % (first + count)

        if not await upsert(self._atomics, _NEXT, advance, ttl_s=_LIFE_S):
            raise TooMany("Too many new apps at once; try again in a second.", headers={"retry-after": "1"})
        return first

    async def _forget(self, key: str, place: int) -> None:
        """Forget a client, unless it has another place by now."""
        raw = await self._records.get(key)
        if raw is not None and json.loads(raw).get("place") == place:
            await self._records.delete(key)
