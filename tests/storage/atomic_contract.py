"""The contract of `AtomicStore`. An adapter's test class inherits it and gives the fixtures `store` and `peer`."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

import anyio
import pytest

from mcp_edge.storage.ports import AtomicStore, Entry
from tests.storage.record_contract import AWKWARD_KEYS, BAD_KEYS, ORDERED, OUTSIDE, REFUSED
from tests.support.clock import Clock


async def increment(store: AtomicStore, key: str) -> int:
    """Add one to the number under `key`, as a writer does that others may come before. The new version."""
    while True:
        entry = await store.get(key)
        assert entry is not None
        await anyio.lowlevel.checkpoint()  # let the others in between the read and the write
        value = str(int(entry.value) + 1).encode()
        version = await store.swap(key, value, version=entry.version, nonce=uuid4().hex)
        if version is not None:
            return version


@pytest.mark.anyio
class AtomicStoreContract:
    """`store` and `peer` reach the same records through objects of their own, as two instances do."""

    large_bytes: ClassVar[int] = 2 * 1024 * 1024

    @pytest.fixture
    def store(self) -> AtomicStore:
        raise NotImplementedError

    @pytest.fixture
    def peer(self, store: AtomicStore) -> AtomicStore:
        """Override it where several objects can share an engine."""
        return store

    async def test_a_key_never_created_has_no_record(self, store: AtomicStore) -> None:
        assert await store.get("nothing") is None

    async def test_create_stores_version_one(self, store: AtomicStore, peer: AtomicStore) -> None:
        assert await store.create("a", b"one", nonce="n1") is True
        assert [await store.get("a"), await peer.get("a")] == [Entry("a", b"one", 1)] * 2

    async def test_create_of_a_present_key_changes_nothing(self, store: AtomicStore, peer: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        assert await peer.create("a", b"two", nonce="n2") is False
        assert await store.get("a") == Entry("a", b"one", 1)

    async def test_a_repeated_create_answers_as_the_first_time(self, store: AtomicStore, peer: AtomicStore) -> None:
        assert await store.create("a", b"one", nonce="n1") is True
        assert await peer.create("a", b"two", nonce="n2") is False
        assert await store.create("a", b"one", nonce="n1") is True
        assert await peer.create("a", b"two", nonce="n2") is False
        assert await store.get("a") == Entry("a", b"one", 1)

    async def test_a_create_repeated_after_another_write_has_lost(self, store: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        await store.swap("a", b"two", version=1, nonce="n2")
        assert await store.create("a", b"one", nonce="n1") is False
        assert await store.get("a") == Entry("a", b"two", 2)

    async def test_the_nonce_of_a_swap_does_not_let_a_create_through(self, store: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        await store.swap("a", b"two", version=1, nonce="n2")
        assert await store.create("a", b"two", nonce="n2") is False

    async def test_an_expired_key_can_be_created_again(self, store: AtomicStore, clock: Clock) -> None:
        await store.create("a", b"one", nonce="n1", ttl_s=60)
        await store.swap("a", b"two", version=1, nonce="n2", ttl_s=60)
        clock.advance(59)
        assert await store.create("a", b"three", nonce="n3") is False
        clock.advance(1)
        assert await store.create("a", b"three", nonce="n3") is True
        assert await store.get("a") == Entry("a", b"three", 1)

    async def test_a_deleted_key_can_be_created_again(self, store: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        await store.delete("a")
        assert await store.create("a", b"two", nonce="n2") is True
        assert await store.get("a") == Entry("a", b"two", 1)

    async def test_a_record_is_gone_at_the_end_of_its_life_and_not_before(
        self, store: AtomicStore, clock: Clock
    ) -> None:
        await store.create("a", b"one", nonce="n1", ttl_s=100)
        clock.advance(99)
        assert (await store.get("a"), await store.read("a")) == (Entry("a", b"one", 1), [Entry("a", b"one", 1)])
        clock.advance(1)
        assert (await store.get("a"), await store.read("a")) == (None, [])

    async def test_swap_replaces_the_version_it_names(self, store: AtomicStore, peer: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        assert await peer.swap("a", b"two", version=1, nonce="n2") == 2
        assert await store.swap("a", b"three", version=2, nonce="n3") == 3
        assert [await store.get("a"), await peer.get("a")] == [Entry("a", b"three", 3)] * 2

    @pytest.mark.parametrize("version", [0, 1, 3, -1])
    async def test_swap_of_another_version_changes_nothing(self, store: AtomicStore, version: int) -> None:
        await store.create("a", b"one", nonce="n1")
        await store.swap("a", b"two", version=1, nonce="n2")
        assert await store.swap("a", b"three", version=version, nonce="n3") is None
        assert await store.get("a") == Entry("a", b"two", 2)

    async def test_swap_of_an_absent_key_stores_nothing(self, store: AtomicStore) -> None:
        assert [await store.swap("a", b"one", version=v, nonce="n1") for v in (0, 1)] == [None, None]
        assert await store.get("a") is None

    async def test_swap_of_an_expired_record_stores_nothing(self, store: AtomicStore, clock: Clock) -> None:
        await store.create("a", b"one", nonce="n1", ttl_s=60)
        clock.advance(60)
        assert await store.swap("a", b"two", version=1, nonce="n2") is None
        assert await store.get("a") is None

    async def test_swap_starts_the_life_anew(self, store: AtomicStore, clock: Clock) -> None:
        for key in ("longer", "endless"):
            await store.create(key, b"one", nonce="n1", ttl_s=100)
        await store.create("shorter", b"one", nonce="n1")
        clock.advance(90)
        await store.swap("longer", b"two", version=1, nonce="n2", ttl_s=100)
        await store.swap("endless", b"two", version=1, nonce="n2")
        await store.swap("shorter", b"two", version=1, nonce="n2", ttl_s=60)
        clock.advance(90)
        assert [e.key for e in await store.read("")] == ["endless", "longer"]

    async def test_a_repeated_swap_answers_as_the_first_time(self, store: AtomicStore, peer: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        assert await store.swap("a", b"two", version=1, nonce="n2") == 2
        assert await peer.swap("a", b"lost", version=1, nonce="n3") is None
        assert await store.swap("a", b"two", version=1, nonce="n2") == 2
        assert await peer.swap("a", b"lost", version=1, nonce="n3") is None
        assert await store.get("a") == Entry("a", b"two", 2)

    async def test_a_swap_repeated_after_another_write_has_lost(self, store: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        await store.swap("a", b"two", version=1, nonce="n2")
        await store.swap("a", b"three", version=2, nonce="n3")
        assert await store.swap("a", b"two", version=1, nonce="n2") is None
        assert await store.get("a") == Entry("a", b"three", 3)

    async def test_empty_and_binary_and_large_values_come_back_whole(
        self, store: AtomicStore, peer: AtomicStore
    ) -> None:
        values = {"empty": b"", "binary": bytes(range(256)), "large": bytes(range(256)) * (self.large_bytes // 256)}
        for key, value in values.items():
            await store.create(key, value, nonce="n1")
        assert {e.key: e.value for e in await peer.read("")} == values
        for key, value in values.items():
            await store.swap(key, value[::-1], version=1, nonce="n2")
        assert [await peer.get(k) for k in values] == [Entry(k, v[::-1], 2) for k, v in values.items()]

    @pytest.mark.parametrize("key", AWKWARD_KEYS)
    async def test_awkward_keys_are_only_themselves(self, store: AtomicStore, key: str) -> None:
        await store.create("other", b"other", nonce="n1")
        assert await store.create(key, b"one", nonce=key) is True
        assert await store.create(key, b"one", nonce=key) is True
        assert await store.swap(key, b"two", version=1, nonce="n2") == 2
        assert await store.read(key) == [Entry(key, b"two", 2)]
        await store.delete(key)
        assert await store.read("") == [Entry("other", b"other", 1)]

    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_a_key_that_cannot_be_one_is_refused_and_has_no_record(self, store: AtomicStore, key: str) -> None:
        with pytest.raises(ValueError, match=REFUSED):
            await store.create(key, b"", nonce="n1")
        with pytest.raises(ValueError, match=REFUSED):
            await store.swap(key, b"", version=1, nonce="n1")
        with pytest.raises(ValueError, match=REFUSED):
            await store.delete(key)
        assert await store.get(key) is None

    async def test_delete_removes_any_version_and_may_be_repeated(self, store: AtomicStore, peer: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        await store.swap("a", b"two", version=1, nonce="n2")
        await store.create("a/b", b"", nonce="n1")
        await peer.delete("a")
        await peer.delete("a")
        assert await store.read("") == [Entry("a/b", b"", 1)]

    async def test_read_gives_the_records_under_a_prefix_in_the_order_of_their_bytes(self, store: AtomicStore) -> None:
        for key in [*reversed(ORDERED), *OUTSIDE]:
            await store.create(key, key.encode(), nonce="n1")
        assert await store.read("p/") == [Entry(key, key.encode(), 1) for key in ORDERED]

    @pytest.mark.parametrize("prefix", ["p/\x7f", "p/\ud7ff", "p/\uffff", "p/\U0010ffff", "\U0010ffff", "p/%", "p/_"])
    async def test_a_prefix_at_the_edge_of_the_alphabet_finds_its_keys_alone(
        self, store: AtomicStore, prefix: str
    ) -> None:
        keys = [*ORDERED, *OUTSIDE, "\U0010ffff\U0010ffff!"]
        for key in keys:
            await store.create(key, b"", nonce="n1")
        expected = [k for k in sorted(keys, key=str.encode) if k.startswith(prefix)]
        assert [e.key for e in await store.read(prefix)] == expected

    async def test_read_goes_on_after_a_key(self, store: AtomicStore) -> None:
        for key in [*ORDERED, *OUTSIDE]:
            await store.create(key, b"", nonce="n1")
        for at, key in enumerate(ORDERED):
            assert [e.key for e in await store.read("p/", after=key, limit=3)] == ORDERED[at + 1 : at + 4]
        assert [e.key for e in await store.read("p/", after="o")] == ORDERED
        assert await store.read("p/", after="q") == []
        assert await store.read("p/", limit=0) == []

    async def test_expired_records_take_no_place_in_a_page(self, store: AtomicStore, clock: Clock) -> None:
        for n in range(10):
            await store.create(f"k/{n}", b"", nonce="n1", ttl_s=60 if n % 2 else None)
        clock.advance(60)
        assert [e.key for e in await store.read("k/", limit=4)] == ["k/0", "k/2", "k/4", "k/6"]

    async def test_sweep_removes_expired_records_only(self, store: AtomicStore, clock: Clock) -> None:
        for n in range(3):
            await store.create(f"old/{n}", b"", nonce="n1", ttl_s=60)
        await store.create("renewed", b"", nonce="n1", ttl_s=60)
        await store.create("kept", b"", nonce="n1")
        clock.advance(30)
        await store.swap("renewed", b"", version=1, nonce="n2", ttl_s=60)
        clock.advance(30)
        await store.sweep()
        assert await store.read("") == [Entry("kept", b"", 1), Entry("renewed", b"", 2)]
        assert await store.sweep() == 0

    async def test_of_many_parallel_creates_one_wins(self, store: AtomicStore, peer: AtomicStore) -> None:
        winners: list[int] = []

        async def contend(n: int) -> None:
            await anyio.lowlevel.checkpoint()
            if await (store, peer)[n % 2].create("a", str(n).encode(), nonce=f"n{n}"):
                winners.append(n)

        async with anyio.create_task_group() as tasks:
            for n in range(64):
                tasks.start_soon(contend, n)
        assert len(winners) == 1
        assert await store.get("a") == Entry("a", str(winners[0]).encode(), 1)

    async def test_of_many_parallel_creates_of_an_expired_key_one_wins(
        self, store: AtomicStore, peer: AtomicStore, clock: Clock
    ) -> None:
        await store.create("a", b"old", nonce="n", ttl_s=60)
        clock.advance(60)
        won: list[bool] = []

        async def contend(n: int) -> None:
            won.append(await (store, peer)[n % 2].create("a", str(n).encode(), nonce=f"n{n}", ttl_s=60))

        async with anyio.create_task_group() as tasks:
            for n in range(64):
                tasks.start_soon(contend, n)
        assert sorted(won) == [False] * 63 + [True]

    async def test_of_many_parallel_swaps_of_one_version_one_wins(self, store: AtomicStore, peer: AtomicStore) -> None:
        await store.create("a", b"", nonce="n")
        versions: list[int | None] = []

        async def contend(n: int) -> None:
            versions.append(await (store, peer)[n % 2].swap("a", str(n).encode(), version=1, nonce=f"n{n}"))

        async with anyio.create_task_group() as tasks:
            for n in range(64):
                tasks.start_soon(contend, n)
        assert sorted(versions, key=bool) == [None] * 63 + [2]

    @pytest.mark.parametrize("times", [15, pytest.param(50, marks=pytest.mark.deep)])
    async def test_parallel_increments_add_up(self, store: AtomicStore, peer: AtomicStore, times: int) -> None:
        await store.create("count", b"0", nonce="n")
        async with anyio.create_task_group() as tasks:
            for n in range(times):
                tasks.start_soon(increment, (store, peer)[n % 2], "count")
        assert await peer.get("count") == Entry("count", b"%d" % times, times + 1)

    async def test_closing_twice_is_closing_once(self, store: AtomicStore) -> None:
        await store.create("a", b"one", nonce="n1")
        await store.aclose()
        await store.aclose()
