"""KV in front of D1 finds what was put at once, and what was deleted for 90 seconds at most, however late KV is."""

from __future__ import annotations

from itertools import permutations

import anyio
import pytest

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.cached import LATE_S, Cached
from mcp_edge.storage.cloudflare_d1 import open_d1
from mcp_edge.storage.cloudflare_kv import KVRecords
from mcp_edge.storage.memory import MemoryRecords
from mcp_edge.storage.ports import RecordStore
from tests.storage.hostile import CACHE_S, Location, Network
from tests.storage.record_contract import RecordStoreContract
from tests.support.clock import Clock
from tests.support.miniflare import D1, KV, Bridge

pytestmark = pytest.mark.anyio

KEY = "session/1"


class Here:
    """Two isolates at two locations of a late KV, with one D1."""

    prefixes: tuple[str, ...] = ("session/",)

    @pytest.fixture
    def network(self, engine: Bridge, clock: Clock) -> Network:
        return Network(KV(engine), clock)

    def isolate(self, network: Network, engine: Bridge, clock: Clock) -> Cached:
        near = KVRecords(Location(network), clock)
        return Cached(near, truth=open_d1(D1(engine), clock)[0], prefixes=self.prefixes, clock=clock)

    @pytest.fixture
    def store(self, network: Network, engine: Bridge, clock: Clock) -> RecordStore:
        return self.isolate(network, engine, clock)

    @pytest.fixture
    def peer(self, network: Network, engine: Bridge, clock: Clock) -> RecordStore:
        return self.isolate(network, engine, clock)


class TestContract(Here, RecordStoreContract):
    prefixes = ("",)

    async def test_delete_removes_one_key_and_may_be_repeated(  # pyright: ignore[reportIncompatibleMethodOverride] # the clock
        self, store: RecordStore, peer: RecordStore, clock: Clock
    ) -> None:
        await store.put("a", b"one")
        await store.put("a/b", b"two")
        await store.delete("a")
        await store.delete("a")
        await store.delete("never there")
        assert [await store.get(k) for k in ("a", "a/b")] == [None, b"two"]
        clock.advance(LATE_S)
        assert [await s.get(k) for s in (store, peer) for k in ("a", "a/b")] == [None, b"two"] * 2


class TestLateness(Here):
    async def test_what_was_put_elsewhere_is_found_where_its_absence_was_cached(
        self, store: RecordStore, peer: RecordStore
    ) -> None:
        assert await peer.get(KEY) is None
        await store.put(KEY, b"one")
        assert await peer.get(KEY) == b"one"

    @pytest.mark.parametrize("after", [None, b"two"], ids=["deleted", "replaced"])
    @pytest.mark.parametrize("asked_every_s", [1, 7, 29])
    async def test_what_was_changed_elsewhere_is_late_but_not_for_longer_than_stated(
        self, store: RecordStore, peer: RecordStore, clock: Clock, after: bytes | None, asked_every_s: int
    ) -> None:
        await store.put(KEY, b"one")
        clock.advance(LATE_S)
        assert await peer.get(KEY) == b"one"
        changed_at = clock()
        await (store.delete(KEY) if after is None else store.put(KEY, after))
        late_s = 0.0
        while clock() < changed_at + 2 * LATE_S:
            if await peer.get(KEY) != after:
                late_s = clock() - changed_at
            clock.advance(asked_every_s)
        assert CACHE_S / 2 < late_s < LATE_S

    async def test_what_was_changed_here_is_never_late(self, store: RecordStore, clock: Clock) -> None:
        await store.put(KEY, b"one")
        for wait_s in (0, 1, LATE_S):
            clock.advance(wait_s)
            assert await store.get(KEY) == b"one"
        await store.put(KEY, b"two")
        for wait_s in (0, 1, LATE_S):
            clock.advance(wait_s)
            assert await store.get(KEY) == b"two"
        await store.delete(KEY)
        for wait_s in (0, 1, LATE_S):
            clock.advance(wait_s)
            assert await store.get(KEY) is None

    async def test_a_list_is_never_late(self, store: RecordStore, peer: RecordStore) -> None:
        await store.put(KEY, b"one")
        assert await peer.list("session/") == [KEY]
        await store.delete(KEY)
        assert await peer.list("session/") == []

    async def test_a_settled_record_is_one_read_of_kv_and_none_of_d1(
        self, store: RecordStore, peer: RecordStore, engine: Bridge, clock: Clock
    ) -> None:
        await store.put(KEY, b"one")
        clock.advance(LATE_S)
        engine.calls.clear()
        assert [await s.get(KEY) for s in (store, peer)] == [b"one"] * 2
        assert engine.calls == ["KV.get"] * 2

    async def test_what_not_every_request_reads_is_in_the_truth_alone(
        self, store: RecordStore, peer: RecordStore, engine: Bridge
    ) -> None:
        await store.put("state/1", b"one")
        assert await peer.get("state/1") == b"one"
        await store.delete("state/1")
        assert await peer.get("state/1") is None
        assert {call for call in engine.calls if call.startswith("KV")} == set()


class Away(MemoryRecords):
    """A store that is away."""

    async def get(self, key: str) -> bytes | None:
        raise StoreUnavailable("away")

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        raise StoreUnavailable("away")

    async def delete(self, key: str) -> None:
        raise StoreUnavailable("away")


async def test_while_the_near_store_is_away_the_truth_answers_and_takes_writes(clock: Clock) -> None:
    truth = MemoryRecords(clock)
    store, peer = (Cached(Away(clock), truth=truth, clock=clock) for _ in range(2))
    await store.put(KEY, b"one", ttl_s=60)
    assert [await s.get(KEY) for s in (store, peer)] == [b"one"] * 2


async def test_a_deletion_that_did_not_reach_the_near_store_is_not_acknowledged(clock: Clock) -> None:
    store = Cached(Away(clock), truth=MemoryRecords(clock), clock=clock)
    await store.put(KEY, b"one")
    with pytest.raises(StoreUnavailable):
        await store.delete(KEY)
    assert await store.get(KEY) == b"one"  # so that whoever tries again finds what is left to delete


async def test_while_the_truth_is_away_what_is_near_is_still_read(clock: Clock) -> None:
    near = MemoryRecords(clock)
    await near.put(KEY, b"one")
    store = Cached(near, truth=Away(clock), clock=clock)
    assert await store.get(KEY) == b"one"
    with pytest.raises(StoreUnavailable):
        await store.get("session/other")
    with pytest.raises(StoreUnavailable):
        await store.put(KEY, b"two")


class InTurn(MemoryRecords):
    """A store whose writes happen when it is their turn."""

    def __init__(self, clock: Clock, name: str, turns: dict[str, anyio.Event], order: tuple[str, ...]) -> None:
        super().__init__(clock)
        self._name, self._turns, self._order, self._deleted = name, turns, order, 0

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self._turns[f"put {self._name}"].wait()
        await super().put(key, value, ttl_s=ttl_s)
        self._next(f"put {self._name}")

    async def delete(self, key: str) -> None:
        step = f"delete {self._name}" + " again" * self._deleted
        self._deleted += 1
        await self._turns[step].wait()
        await super().delete(key)
        self._next(step)

    def _next(self, done: str) -> None:
        at = self._order.index(done) + 1
        if at < len(self._order):
            self._turns[self._order[at]].set()


ORDERS = [
    order
    for order in permutations(("put near", "put truth", "delete near", "delete truth", "delete near again"))
    if order.index("put near") < order.index("put truth")
    and order.index("delete near") < order.index("delete truth") < order.index("delete near again")
]


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
async def test_a_put_and_a_delete_at_the_same_time_leave_every_reader_with_the_truth(
    clock: Clock, order: tuple[str, ...]
) -> None:
    turns = {step: anyio.Event() for step in order}
    turns[order[0]].set()
    near, truth = (InTurn(clock, name, turns, order) for name in ("near", "truth"))
    one, other, reader = (Cached(near, truth=truth, clock=clock) for _ in range(3))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.put, KEY, b"one")
            tasks.start_soon(other.delete, KEY)
    assert await reader.get(KEY) == await truth.get(KEY)


async def test_more_writes_than_are_remembered_are_still_never_late(clock: Clock) -> None:
    near, truth = MemoryRecords(clock), MemoryRecords(clock)
    store = Cached(near, truth=truth, clock=clock)
    await store.put(KEY, b"new")
    await near.put(KEY, b"old")
    for n in range(5000):
        await store.put(f"session/{n:05}", b"")
    assert await store.get(KEY) == b"new"
    clock.advance(LATE_S)
    assert await store.get(KEY) == b"old"  # which by then only a broken store would hold
