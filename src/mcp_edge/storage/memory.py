"""Both ports in the memory of one process: for tests, for benchmarks, and for trying a server out.

It knows no other process: a server of several processes needs a store that they share.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, Protocol, TypeVar

from mcp_edge.storage.keys import checked, span
from mcp_edge.storage.ports import Entry


class _Mortal(Protocol):
    @property
    def expires_at(self) -> float: ...


@dataclass(frozen=True, slots=True)
class _Record:
    value: bytes
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Versioned:
    entry: Entry
    nonce: str
    expires_at: float


_R = TypeVar("_R", bound=_Mortal)

_EXPIRED_PER_WRITE = 2
"""More than the one record that a write adds, so that expired ones cannot pile up."""


class _Shelf(Generic[_R]):
    """Records by key, their keys in order, and their deadlines. Each write clears a little of what has expired."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._records: dict[str, _R] = {}
        self._keys: list[str] = []
        self._deadlines: list[tuple[float, str]] = []

    def live(self, key: str) -> _R | None:
        found = self._records.get(key)
        return None if found is None or found.expires_at <= self.clock() else found

    def deadline(self, ttl_s: float | None) -> float:
        return inf if ttl_s is None else self.clock() + ttl_s

    def place(self, key: str, record: _R) -> None:
        self.sweep(_EXPIRED_PER_WRITE)
        if key not in self._records:
            insort(self._keys, key)
        self._records[key] = record
        if record.expires_at < inf:
            heappush(self._deadlines, (record.expires_at, key))
            # A rewritten record leaves its old deadline behind; a rebuild bounds how many.
            if len(self._deadlines) > 2 * len(self._records) + 64:
                self._deadlines = [(r.expires_at, k) for k, r in self._records.items() if r.expires_at < inf]
                heapify(self._deadlines)

    def remove(self, key: str) -> None:
        if self._records.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def range(self, prefix: str, after: str, limit: int) -> Iterator[tuple[str, _R]]:
        first, end = span(prefix, after)
        now = self.clock()
        at = bisect_left(self._keys, first)
        while limit > 0 and at < len(self._keys) and (end is None or self._keys[at] < end):
            key = self._keys[at]
            record = self._records[key]
            if record.expires_at > now:
                yield key, record
                limit -= 1
            at += 1

    def sweep(self, limit: int) -> int:
        now = self.clock()
        gone = 0
        while gone < limit and self._deadlines and self._deadlines[0][0] <= now:
            deadline, key = heappop(self._deadlines)
            record = self._records.get(key)
            if record is not None and record.expires_at == deadline:
                self.remove(key)
                gone += 1
        return gone


class MemoryRecords:
    """`RecordStore` in memory. Consistent; nothing outlives the object."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._shelf: _Shelf[_Record] = _Shelf(clock)

    async def get(self, key: str) -> bytes | None:
        found = self._shelf.live(key)
        return None if found is None else found.value

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        self._shelf.place(checked(key), _Record(value, self._shelf.deadline(ttl_s)))

    async def delete(self, key: str) -> None:
        self._shelf.remove(checked(key))

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        return [key for key, _ in self._shelf.range(prefix, after, limit)]

    async def sweep(self, *, limit: int = 1000) -> int:
        return self._shelf.sweep(limit)

    async def aclose(self) -> None:
        """Nothing is open."""


class MemoryAtomics:
    """`AtomicStore` in memory. No method waits, so each is atomic on its event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._shelf: _Shelf[_Versioned] = _Shelf(clock)

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        found = self._shelf.live(checked(key))
        if found is not None and (found.entry.version, found.nonce) != (1, nonce):
            return False
        self._shelf.place(key, _Versioned(Entry(key, value, 1), nonce, self._shelf.deadline(ttl_s)))
        return True

    async def get(self, key: str) -> Entry | None:
        found = self._shelf.live(key)
        return None if found is None else found.entry

    async def swap(self, key: str, value: bytes, *, version: int, nonce: str, ttl_s: float | None = None) -> int | None:
        found = self._shelf.live(checked(key))
        if found is None:
            return None
        repeated = (found.entry.version, found.nonce) == (version + 1, nonce)
        if found.entry.version != version and not repeated:
            return None
        self._shelf.place(key, _Versioned(Entry(key, value, version + 1), nonce, self._shelf.deadline(ttl_s)))
        return version + 1

    async def delete(self, key: str) -> None:
        self._shelf.remove(checked(key))

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        return [found.entry for _, found in self._shelf.range(prefix, after, limit)]

    async def sweep(self, *, limit: int = 1000) -> int:
        return self._shelf.sweep(limit)

    async def aclose(self) -> None:
        """Nothing is open."""


def open_memory(clock: Callable[[], float] = time.time) -> tuple[MemoryRecords, MemoryAtomics]:
    """Both ports, empty. `clock` gives epoch seconds."""
    return MemoryRecords(clock), MemoryAtomics(clock)
