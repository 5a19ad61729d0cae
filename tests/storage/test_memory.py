"""The memory adapter keeps the contracts and does not grow with what has expired."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords, open_memory
from tests.storage.atomic_contract import AtomicStoreContract
from tests.storage.record_contract import RecordStoreContract
from tests.support.clock import Clock


class TestMemoryRecords(RecordStoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> MemoryRecords:
        return open_memory(clock)[0]


class TestMemoryAtomics(AtomicStoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> MemoryAtomics:
        return open_memory(clock)[1]


@pytest.mark.anyio
async def test_records_that_expire_unread_do_not_pile_up(clock: Clock) -> None:
    records, atomics = open_memory(clock)
    for n in range(2000):
        await records.put(f"r/{n:06}", b"", ttl_s=60)
        await atomics.create(f"a/{n:06}", b"", nonce="n", ttl_s=60)
        clock.advance(1)
    # What a sweep still finds is what expired since the last write.
    assert (await records.sweep(), await atomics.sweep()) == (1, 1)
    assert (len(await records.list("", limit=3000)), len(await atomics.read("", limit=3000))) == (59, 59)


@pytest.mark.anyio
async def test_a_record_that_is_renewed_for_ever_takes_the_room_of_one(clock: Clock) -> None:
    records, _ = open_memory(clock)

    async def renew(times: int) -> None:
        for _ in range(times):
            await records.put("lease", b"", ttl_s=1e9)
            clock.advance(1)

    await renew(200)
    gc.collect()
    tracemalloc.start()
    try:
        await renew(20_000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 50_000


@pytest.mark.anyio
async def test_sweep_stops_at_its_limit(clock: Clock) -> None:
    records, _ = open_memory(clock)
    for n in range(10):
        await records.put(f"r/{n}", b"", ttl_s=60)
    clock.advance(60)
    assert [await records.sweep(limit=4) for _ in range(4)] == [4, 4, 2, 0]
