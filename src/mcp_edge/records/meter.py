"""What one stream stores, counted against its principal's quota before it is stored.

So no stream grows beyond the quota, and a short stream costs the store nothing before its end. The meter knows no
stream and no message.
"""

from __future__ import annotations

import logging

from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.records.quotas import Quotas

logger = logging.getLogger(__name__)

_LEAST, _FREE, _AHEAD = 1024, 16 * 1024, 64 * 1024
"""Bytes: `_FREE` may be stored before any are counted; from then on `_AHEAD` are counted at once. Both are less where
the quota is small: a stream's share of a quarter of the quota, but at least `_LEAST`."""
SMALL = 4096
"""A final response of at most so many bytes is stored in any case, for a client that comes back."""


class Meter:
    """The count of one stream's bytes."""

    def __init__(self, platform: Platform, principal: str) -> None:
        settings = platform.settings
        share = max(_LEAST, settings.max_log_bytes // (4 * settings.max_streams))
        self._quotas = Quotas(platform)
        self._clock = platform.clock
        self._principal = principal
        self._free = min(_FREE, share)
        self._ahead = min(_AHEAD, share)
        self._left = 0
        """Bytes counted and not yet stored. Below zero: bytes stored and not yet counted."""
        self._counted_at = 0.0

    def stored(self, size: int) -> None:
        """`size` bytes were stored."""
        self._left -= size

    async def allows(self, size: int, *, last: bool = False) -> bool:
        """Whether `size` more bytes may be stored. They are counted by then, unless they are among the first.

        With `last`, they are the end of the stream: nothing is counted ahead. While the store is away, the answer is
        True.
        """
        missing = size - self._left
        if missing <= (0 if self._counted_at else self._free):
            return True
        try:
            granted = await self._quotas.may_log(self._principal, missing + (0 if last else self._ahead))
        except StoreUnavailable as e:
            logger.warning("%d bytes of a stream were not counted: %s", missing, e)  # nor are they stored, most likely
            return True
        if granted:
            self._left = size + (0 if last else self._ahead)
            self._counted_at = self._clock()
        return granted

    async def settle(self) -> None:
        """Count what was stored and is not counted yet; take back what was counted and is not stored."""
        size, counted_at = -self._left, self._counted_at
        self._left, self._counted_at = 0, 0.0
        if size == 0 or (size < 0 and int(counted_at // 3600) != int(self._clock() // 3600)):
            return  # another hour's
        try:
            await self._quotas.count(self._principal, size)
        except StoreUnavailable as e:
            logger.warning("%d bytes of a stream were not counted: %s", size, e)
