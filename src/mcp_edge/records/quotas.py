"""What one principal may hold at once and store in an hour; every instance counts the same. Quotas know no wire."""

from __future__ import annotations

import math

from mcp_edge.errors import StoreUnavailable, TooMany
from mcp_edge.platform import Platform
from mcp_edge.records.ceilings import Full, NumberedPlace
from mcp_edge.records.keys import HOLD, LOGGED
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash

SLOT_S = 60
"""Seconds for which a slot counts without being renewed. After them, the slots of a killed instance are free."""
_HOUR_S = 3600
_USED_UP = "The streams of this hour hold too many bytes."


class QuotaSlot:
    """A slot for one thing that counts while it is held: take the slot, keep it, release it when done."""

    def __init__(self, platform: Platform, kind: str, principal: str, name: str) -> None:
        prefix = f"{HOLD}{short_hash(principal)}/{kind}/"
        name = short_hash(name) if name else ""
        self._place = NumberedPlace(platform.atomics, prefix, name=name, ttl_s=SLOT_S)
        self._clock = platform.clock
        self._kind = kind
        self._most = 0
        self._renewed_at = 0.0

    async def take(self, most: int) -> None:
        """Count from now on, if the principal has fewer than `most` slots.

        Raises:
            TooMany: the principal has `most` slots already.
        """
        self._most, self._renewed_at = most, self._clock()
        try:
            await self._place.take(most)
        except Full:
            raise self._refusal() from None

    async def keep(self) -> None:
        """Go on counting. Call this at each look: it reaches for the store every `SLOT_S / 3` seconds only. While the
        store is away, the next look tries again.

        Raises:
            TooMany: this instance was asleep for so long that others have all slots.
        """
        if (now := self._clock()) - self._renewed_at > SLOT_S / 3:
            try:
                await self._place.renew()
            except Full:
                raise self._refusal() from None
            except StoreUnavailable:
                return
            self._renewed_at = now

    async def release(self, *, for_all: bool = False) -> None:
        """Count no more. With `for_all`, nobody of the name counts any more: what the name stands for has ended."""
        await self._place.release(for_all=for_all)

    def _refusal(self) -> TooMany:
        return TooMany(f"Too many open {self._kind} (at most {self._most}).", headers={"retry-after": "5"})


class Quotas:
    """Held streams, calls, open questions and stored bytes of each principal."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._store = platform.atomics

    def slot(self, kind: str, principal: str, name: str = "") -> QuotaSlot:
        """A slot for one more `kind` ("streams", "questions"), not yet taken. What has a `name` counts once: a client
        that comes back from an instance that died takes over its own slot, and is not refused because of it.
        """
        return QuotaSlot(self._platform, kind, principal, name)

    async def take_slot(self, kind: str, principal: str, most: int, name: str = "") -> QuotaSlot:
        """Take a slot, as `slot` makes it, if the principal has fewer than `most` of this `kind`.

        Raises:
            TooMany: the principal has `most` slots already.
        """
        slot = self.slot(kind, principal, name)
        await slot.take(most)
        return slot

    async def charge(self, principal: str, size: int) -> None:
        """Count `size` bytes that are about to be stored for the principal.

        Raises:
            TooMany: more than may be stored in this hour (`MCP_MAX_LOG_BYTES`). The bytes are not counted.
        """
        if not await self._add(principal, size, self._platform.settings.max_log_bytes):
            raise TooMany(_USED_UP, headers={"retry-after": "1"})  # others of the same user count right now

    async def may_log(self, principal: str, size: int = 0) -> bool:
        """Whether the principal may store more in this hour. If so, the `size` bytes that begin a stream are counted.

        The last stream of the hour may be longer than what is left.
        """
        most = self._platform.settings.max_log_bytes
        if not size:
            entry = await self._store.get(self._spent(principal))
            return entry is None or int(entry.value) < most
        try:
            return await self._add(principal, size, most - 1 + size)
        except TooMany:
            return False

    async def count(self, principal: str, size: int) -> None:
        """Count `size` bytes that are stored. A count that is lost to races makes the quota wider; it is no error."""
        await self._add(principal, size, math.inf)

    async def _add(self, principal: str, size: int, most: float) -> bool:
        def sum_up(value: bytes | None) -> bytes:
            total = int(value or 0) + size
            if total > most:
                raise TooMany(_USED_UP, headers={"retry-after": "60"})
            return b"%d" % total

        return await upsert(self._store, self._spent(principal), sum_up, ttl_s=2 * _HOUR_S)

    def _spent(self, principal: str) -> str:
        return f"{LOGGED}{short_hash(principal)}/{int(self._platform.clock() // _HOUR_S)}"
