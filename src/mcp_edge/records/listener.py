"""Who reads a stream: of any number of readers the newest alone. It knows no wire.

A client that comes back may be quicker than the instance that has yet to notice its leaving. So the newest reader takes
the stream without asking, and an older one sees that and closes. A `Lease` would let the newest wait until the older
one is late.
"""

from __future__ import annotations

from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.records.keys import LISTENER
from mcp_edge.records.quotas import SLOT_S
from mcp_edge.records.upsert import upsert


class ListenerLease:
    """One reader's claim to a stream, until another reader takes it."""

    def __init__(self, platform: Platform, stream: str) -> None:
        """`stream` is the session (its hash) whose own stream it is, or the id of a call's stream."""
        self._store = platform.atomics
        self._ttl_s = platform.stream_budget_s + SLOT_S  # no reader stays for longer
        self._nonce = mint().encode()
        self._key = f"{LISTENER}{stream}"

    async def take(self) -> None:
        """Become the reader. Where so many others take the stream just now that one of them is newer, do nothing."""
        await upsert(self._store, self._key, lambda _: self._nonce, ttl_s=self._ttl_s)

    async def is_mine(self) -> bool:
        """Whether this is the newest reader. False before `take`."""
        entry = await self._store.get(self._key)
        return entry is not None and entry.value == self._nonce

    async def is_anothers(self) -> bool:
        """Whether another reader is the newest. False where no reader ever took the stream."""
        entry = await self._store.get(self._key)
        return entry is not None and entry.value != self._nonce
