"""What one stream stores, counted against its principal's quota ahead of it: no stream grows beyond what is allowed.

A short stream costs the store nothing before its end. It knows no stream and no message.
"""

from __future__ import annotations

import logging

from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.records.quotas import Quotas

logger = logging.getLogger(__name__)

_LEAST, _FREE, _AHEAD = 1024, 16 * 1024, 64 * 1024
"""Bytes that a stream may store before any are counted, and bytes that are counted at once from then on; fewer where
a quarter of the quota, shared by as many streams as may be open, is less."""
SMALL = 4096
"""An end of so many bytes is stored in any case, so that who comes back is told it."""


class Meter:
    """The bytes of one stream."""

    def __init__(self, platform: Platform, principal: str) -> None:
        settings = platform.settings
        share = max(_LEAST, settings.max_log_bytes // (4 * settings.max_streams))
        self._quotas = Quotas(platform)
        self._clock = platform.clock
        self._principal = principal
        self._free = min(_FREE, share)
        self._ahead = min(_AHEAD, share)
        self._left = 0
        """Bytes that were counted ahead; what was stored and is not counted yet, where it is less than nothing."""
        self._counted_at = 0.0

    def stored(self, size: int) -> None:
        """`size` bytes were stored."""
        self._left -= size

    async def allows(self, size: int, *, last: bool = False) -> bool:
        """Whether `size` bytes may be stored. What the stream stores beyond its first bytes is counted by then; nothing
        is counted ahead of its `last` ones."""
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
        """Count what was stored and not counted yet, and no longer what was counted and not stored."""
        size, counted_at = -self._left, self._counted_at
        self._left, self._counted_at = 0, 0.0
        if size == 0 or (size < 0 and int(counted_at // 3600) != int(self._clock() // 3600)):
            return  # another hour's
        try:
            await self._quotas.logged(self._principal, size)
        except StoreUnavailable as e:
            logger.warning("%d bytes of a stream were not counted: %s", size, e)
