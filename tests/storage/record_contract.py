"""The contract of `RecordStore`. An adapter's test class inherits it and gives the fixtures `store` and `peer`."""

from __future__ import annotations

from typing import ClassVar

import anyio
import pytest

from mcp_edge.storage.keys import MAX_KEY_BYTES
from mcp_edge.storage.ports import RecordStore
from tests.support.clock import Clock

# In the order of their UTF-8 bytes, which is not that of their UTF-16 units.
ORDERED = [
    *("p/", "p/\x01", "p/%", "p/'", "p/A", "p/_", "p/a", "p/a/b", "p/a0", "p/\x7f", "p/é", "p/\ud7ff", "p/\ue000"),
    *("p/\uffff", "p/\U00010000", "p/\U0010ffff", "p/\U0010ffff\U0010ffff"),
]
OUTSIDE = ["P/a", "o", "p", "p.", "p0", "q/", "\U0010ffff"]
AWKWARD_KEYS = [
    'say "it\'s"; DROP TABLE records; --',
    "100%_*?[a-z]",
    "back\\slash/and space/\t\n",
    "Ünïcode/日本語/🎉/e\u0301",
    "k" * MAX_KEY_BYTES,
    "é" * (MAX_KEY_BYTES // 2),
]
BAD_KEYS = ["", "k" * (MAX_KEY_BYTES + 1), "é" * (MAX_KEY_BYTES // 2) + "k", "lone\ud800", ".", ".."]
REFUSED = r"a key has|surrogates"


@pytest.mark.anyio
class RecordStoreContract:
    """`store` and `peer` reach the same records through objects of their own, as two instances do."""

    large_bytes: ClassVar[int] = 2 * 1024 * 1024

    @pytest.fixture
    def store(self) -> RecordStore:
        raise NotImplementedError

    @pytest.fixture
    def peer(self, store: RecordStore) -> RecordStore:
        """Override it where several objects can share an engine."""
        return store

    async def test_a_key_never_put_has_no_value(self, store: RecordStore) -> None:
        assert await store.get("nothing") is None

    async def test_get_answers_what_put_stored(self, store: RecordStore, peer: RecordStore) -> None:
        await store.put("a", b"one")
        await store.put("b", b"two")
        assert [await s.get(k) for s in (store, peer) for k in ("a", "b")] == [b"one", b"two"] * 2

    async def test_a_second_put_replaces_the_value(self, store: RecordStore) -> None:
        await store.put("a", b"one")
        await store.put("a", b"two")
        assert await store.get("a") == b"two"
        assert await store.list("a") == ["a"]

    async def test_empty_and_binary_and_large_values_come_back_whole(
        self, store: RecordStore, peer: RecordStore
    ) -> None:
        values = {"empty": b"", "binary": bytes(range(256)), "large": bytes(range(256)) * (self.large_bytes // 256)}
        for key, value in values.items():
            await store.put(key, value)
        assert {key: await peer.get(key) for key in values} == values

    @pytest.mark.parametrize("key", AWKWARD_KEYS)
    async def test_awkward_keys_are_only_themselves(self, store: RecordStore, key: str) -> None:
        await store.put("other", b"other")
        await store.put(key, b"value")
        assert await store.get(key) == b"value"
        assert await store.list(key) == [key]
        await store.delete(key)
        assert (await store.get(key), await store.get("other")) == (None, b"other")

    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_a_key_that_cannot_be_one_is_refused_and_has_no_value(self, store: RecordStore, key: str) -> None:
        with pytest.raises(ValueError, match=REFUSED):
            await store.put(key, b"value")
        with pytest.raises(ValueError, match=REFUSED):
            await store.delete(key)
        assert await store.get(key) is None

    async def test_a_record_is_gone_at_the_end_of_its_life_and_not_before(
        self, store: RecordStore, clock: Clock
    ) -> None:
        await store.put("a", b"one", ttl_s=100)
        clock.advance(99)
        assert (await store.get("a"), await store.list("a")) == (b"one", ["a"])
        clock.advance(1)
        assert (await store.get("a"), await store.list("a")) == (None, [])

    async def test_a_record_without_ttl_stays(self, store: RecordStore, clock: Clock) -> None:
        await store.put("a", b"one")
        clock.advance(10 * 365 * 86400)
        assert await store.get("a") == b"one"

    async def test_a_second_put_starts_the_life_anew(self, store: RecordStore, clock: Clock) -> None:
        await store.put("longer", b"one", ttl_s=100)
        await store.put("endless", b"one", ttl_s=100)
        await store.put("shorter", b"one")
        clock.advance(90)
        await store.put("longer", b"two", ttl_s=100)
        await store.put("endless", b"two")
        await store.put("shorter", b"two", ttl_s=60)
        clock.advance(90)
        assert [await store.get(k) for k in ("longer", "endless", "shorter")] == [b"two", b"two", None]

    async def test_an_expired_record_can_be_put_again(self, store: RecordStore, clock: Clock) -> None:
        await store.put("a", b"one", ttl_s=60)
        clock.advance(61)
        await store.put("a", b"two", ttl_s=60)
        assert await store.get("a") == b"two"

    async def test_delete_removes_one_key_and_may_be_repeated(self, store: RecordStore, peer: RecordStore) -> None:
        await store.put("a", b"one")
        await store.put("a/b", b"two")
        await store.delete("a")
        await store.delete("a")
        await store.delete("never there")
        assert [await s.get(k) for s in (store, peer) for k in ("a", "a/b")] == [None, b"two"] * 2

    async def test_list_gives_the_keys_under_a_prefix_in_the_order_of_their_bytes(self, store: RecordStore) -> None:
        for key in [*reversed(ORDERED), *OUTSIDE]:
            await store.put(key, b"")
        assert await store.list("p/") == ORDERED == sorted(ORDERED, key=str.encode)

    async def test_list_with_no_prefix_gives_every_key(self, store: RecordStore) -> None:
        for key in [*OUTSIDE, *ORDERED]:
            await store.put(key, b"")
        assert await store.list("") == sorted([*OUTSIDE, *ORDERED], key=str.encode)

    @pytest.mark.parametrize("prefix", ["p/\x7f", "p/\ud7ff", "p/\uffff", "p/\U0010ffff", "\U0010ffff", "p/%", "p/_"])
    async def test_a_prefix_at_the_edge_of_the_alphabet_finds_its_keys_alone(
        self, store: RecordStore, prefix: str
    ) -> None:
        keys = [*ORDERED, *OUTSIDE, "\U0010ffff\U0010ffff!"]
        for key in keys:
            await store.put(key, b"")
        assert await store.list(prefix) == [k for k in sorted(keys, key=str.encode) if k.startswith(prefix)]

    async def test_list_goes_on_after_a_key(self, store: RecordStore) -> None:
        for key in [*ORDERED, *OUTSIDE]:
            await store.put(key, b"")
        for at, key in enumerate(ORDERED):
            assert await store.list("p/", after=key) == ORDERED[at + 1 :]
        assert await store.list("p/", after="o") == ORDERED
        assert await store.list("p/", after="p/a!") == ORDERED[ORDERED.index("p/a/b") :]
        assert await store.list("p/", after="q") == []

    async def test_pages_of_a_list_cover_it_once(self, store: RecordStore) -> None:
        for key in ORDERED:
            await store.put(key, b"")
        pages: list[list[str]] = [await store.list("p/", limit=5)]
        while pages[-1]:
            pages.append(await store.list("p/", after=pages[-1][-1], limit=5))
        assert [len(page) for page in pages] == [5, 5, 5, 2, 0]
        assert [key for page in pages for key in page] == ORDERED
        assert await store.list("p/", limit=0) == []

    async def test_expired_keys_take_no_place_in_a_page(self, store: RecordStore, clock: Clock) -> None:
        for n in range(10):
            await store.put(f"k/{n}", b"", ttl_s=60 if n % 2 else None)
        clock.advance(60)
        assert await store.list("k/", limit=4) == ["k/0", "k/2", "k/4", "k/6"]

    async def test_sweep_removes_expired_records_only(self, store: RecordStore, clock: Clock) -> None:
        for n in range(3):
            await store.put(f"old/{n}", b"", ttl_s=60)
        await store.put("renewed", b"", ttl_s=60)
        await store.put("kept", b"")
        clock.advance(30)
        await store.put("renewed", b"", ttl_s=60)
        clock.advance(30)
        await store.sweep()
        assert await store.list("") == ["kept", "renewed"]
        assert await store.sweep() == 0

    async def test_parallel_puts_of_one_key_leave_one_of_the_values(
        self, store: RecordStore, peer: RecordStore
    ) -> None:
        values = [f"{n:04}".encode() * 1000 for n in range(32)]
        async with anyio.create_task_group() as tasks:
            for n, value in enumerate(values):
                tasks.start_soon((store, peer)[n % 2].put, "a", value)
        assert await store.get("a") in values

    async def test_closing_twice_is_closing_once(self, store: RecordStore) -> None:
        await store.put("a", b"one")
        await store.aclose()
        await store.aclose()
