"""An eventual store that is near in front of a consistent one that is the truth. It knows no engine.

Only what every request reads is in both; everything else is in the truth alone, where it costs one write instead of two
and is never late. What is in both is written once and renewed: an older value under its key means the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.ports import RecordStore

READ_BY_EVERY_REQUEST = ("session/", "token/")
"""Prefixes of session records and access tokens."""

WRITTEN_ONCE = ("token/",)
"""Prefixes of what nobody puts while it is deleted: KV takes one write of a key in a second, so that a second deletion
would wait."""

LATE_S = 90
"""Seconds for which `near` may still answer what it held before: KV's cache of 60, and 30 for a write to spread."""

_MOST_OWN = 4096


class Cached:
    """`RecordStore`: `truth`, and `near` for the keys under `prefixes`.

    Guarantee: what was put and not deleted is found at once, anywhere. What another instance deleted or replaced may
    be answered for up to `LATE_S` seconds more; what was written through this object never is. `list` is never late.
    """

    def __init__(
        self,
        near: RecordStore,
        *,
        truth: RecordStore,
        prefixes: tuple[str, ...] = READ_BY_EVERY_REQUEST,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._near = near
        self._truth = truth
        self._prefixes = prefixes
        self._clock = clock
        # Keys written here and until when `near` may not know it, the oldest first; and until when that goes for all.
        self._own: dict[str, float] = {}
        self._all_until = 0.0

    async def get(self, key: str) -> bytes | None:
        if key.startswith(self._prefixes) and not self._may_be_late(key):
            with suppress(StoreUnavailable):  # the truth answers while `near` is away
                if (found := await self._near.get(key)) is not None:
                    return found
        # Nothing is written back to `near`: a deletion may have come between, which that would undo.
        return await self._truth.get(key)

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        if key.startswith(self._prefixes):
            self._wrote(key)
            # `near` first, and in `delete` last too: so whichever of a put and a delete at the same time comes later
            # in the truth, nothing stays in `near` alone. A failure here leaves every read to the truth.
            with suppress(StoreUnavailable):
                await self._near.put(key, value, ttl_s=ttl_s)
        await self._truth.put(key, value, ttl_s=ttl_s)

    async def delete(self, key: str) -> None:
        if key.startswith(self._prefixes):
            self._wrote(key)
            # Before the truth: where this fails, the truth still has what whoever tries again will look for.
            await self._near.delete(key)
        await self._truth.delete(key)
        if key.startswith(self._prefixes) and not key.startswith(WRITTEN_ONCE):
            await self._near.delete(key)  # a put may have come between

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        return await self._truth.list(prefix, after=after, limit=limit)

    async def sweep(self, *, limit: int = 1000) -> int:
        await self._near.sweep(limit=limit)
        return await self._truth.sweep(limit=limit)

    async def aclose(self) -> None:
        """Close both."""
        await self._near.aclose()
        await self._truth.aclose()

    def _wrote(self, key: str) -> None:
        now = self._clock()
        self._own.pop(key, None)
        while self._own and next(iter(self._own.values())) <= now:
            del self._own[next(iter(self._own))]
        if len(self._own) >= _MOST_OWN:
            self._own.clear()
            self._all_until = now + LATE_S
        self._own[key] = now + LATE_S

    def _may_be_late(self, key: str) -> bool:
        if not self._own and not self._all_until:
            return False
        now = self._clock()
        return self._all_until > now or self._own.get(key, 0) > now


def cached(
    near: RecordStore,
    *,
    truth: RecordStore,
    prefixes: tuple[str, ...] = READ_BY_EVERY_REQUEST,
    clock: Callable[[], float] = time.time,
) -> RecordStore:
    """`near` in front of `truth` for the keys under `prefixes`; see `Cached` for what may be late."""
    return Cached(near, truth=truth, prefixes=prefixes, clock=clock)
