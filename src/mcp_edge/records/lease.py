"""A lease on what one instance at a time may do: a record that names its owner and the second after which it is late.

The owner renews the record in time. When the owner does not, anybody may take the record over, and the old owner's
next renewal fails. The caller makes the record's value, with the members `owner` and `until`; the lease knows nothing
of what else is in it.

The record outlives the lease by far (`ttl_s` against `MCP_LEASE_S`). Versions begin anew after an expiry, so an
instance that slept until the record had expired could not tell another owner's version from its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.storage.ports import Entry

NEVER = 1e12
"""Epoch seconds: the end of a lease for a release that knows no annexes, and would run the call without them."""


class Lease:
    """One owner's claim to the record under `key`. Each `Lease` is an owner of its own."""

    def __init__(self, platform: Platform, key: str, *, ttl_s: float) -> None:
        """`ttl_s` is the life of the record from its last write, in seconds."""
        self.owner = mint()
        """A random name for this owner. The value says it in its member `owner`."""
        self._store = platform.atomics
        self._clock = platform.clock
        self._lasts_s = platform.settings.lease_s
        self._key = key
        self._ttl_s = ttl_s
        self._version = 0

    def until(self) -> float:
        """The end of a lease that is taken or renewed now, in epoch seconds: `MCP_LEASE_S` from now."""
        return self._clock() + self._lasts_s

    async def take(self, value: bytes) -> bool:
        """Make the record. False when there is one."""
        if not await self._store.create(self._key, value, nonce=self.owner, ttl_s=self._ttl_s):
            return False
        self._version = 1
        return True

    async def take_over(self, value: bytes, version: int) -> bool:
        """Replace a record that was found late, at `version`. False when it has changed since."""
        self._version = version
        return await self.renew(value)

    async def renew(self, value: bytes) -> bool:
        """Replace the own record. False when it is another owner's by now, or gone: the lease is lost."""
        version = await self._swap(value, self._version)
        if version is None:
            # Our own last write may have been carried out although its answer was lost: the record says whose it is.
            entry = await self._store.get(self._key)
            if entry is not None and self._is_own(entry):
                version = await self._swap(value, entry.version)
        if version is None:
            return False
        self._version = version
        return True

    async def release(self) -> None:
        """Remove the record: what it was for is done. Only the owner may call this."""
        await self._store.delete(self._key)

    async def _swap(self, value: bytes, version: int) -> int | None:
        return await self._store.swap(self._key, value, version=version, nonce=mint(), ttl_s=self._ttl_s)

    def _is_own(self, entry: Entry) -> bool:
        return json.loads(entry.value).get("owner") == self.owner


def end_members(until: float, *, annexed: bool) -> dict[str, float]:
    """The members of a record that say until when its lease lasts (epoch seconds).

    With `annexed`, part of the record is in an annex. A release that knows no annexes reads `until` alone, and never
    finds such a record late.
    """
    return {"until": NEVER, "lease": until} if annexed else {"until": until}


def end_of(record: Mapping[str, Any]) -> float:
    """Until when the lease of a record lasts, in epoch seconds; 0 in a record that says nothing of it."""
    return record.get("lease", record.get("until", 0))


def is_late(until: float, now: float) -> bool:
    """Whether anybody may take over, at `now`, a lease that lasts until then. Both are epoch seconds."""
    return until <= now
