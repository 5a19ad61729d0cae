"""Who reads a stream: one reader, the newest. It knows no stream."""

from __future__ import annotations

from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.records.ceilings import update
from mcp_edge.records.quotas import HOLD_S


class Listener:
    """The one reader of a stream: the newest takes it, an older one sees that and closes.

    A client that comes back may be quicker than the instance that has yet to notice its leaving.
    """

    def __init__(self, platform: Platform, stream: str) -> None:
        """`stream` is the session whose own it is, or the call's."""
        self._store = platform.atomics
        self._ttl_s = platform.stream_budget_s + HOLD_S  # nobody holds one for longer
        self._nonce = mint().encode()
        self._key = f"listener/{stream}"

    async def take(self) -> None:
        """Become the reader, unless so many others do just now that one of them is newer."""
        await update(self._store, self._key, lambda _: self._nonce, ttl_s=self._ttl_s)

    async def is_mine(self) -> bool:
        """Whether nobody newer reads it."""
        entry = await self._store.get(self._key)
        return entry is not None and entry.value == self._nonce

    async def is_anothers(self) -> bool:
        """Whether somebody else reads it; False where it was never taken."""
        entry = await self._store.get(self._key)
        return entry is not None and entry.value != self._nonce
