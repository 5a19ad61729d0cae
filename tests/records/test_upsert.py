"""`upsert` on every engine: whoever else writes at the same time, each change is made once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_edge.errors import StoreUnavailable, TooMany
from mcp_edge.records.upsert import upsert
from mcp_edge.storage.ports import AtomicStore, Entry
from tests.support.awaiting import Awaiting
from tests.support.clock import Clock
from tests.support.engines import ENGINES
from tests.support.lost_answers import LostAnswers

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest) -> AtomicStore:
    return request.getfixturevalue(f"{request.param}_ports")[1]


def one_more(value: bytes | None) -> bytes:
    return b"%d" % (int(value or 0) + 1)


async def test_a_record_begins_with_what_is_made_of_none_and_goes_on_with_what_is_made_of_it(
    store: AtomicStore,
) -> None:
    seen: list[bytes | None] = []

    def change(value: bytes | None) -> bytes:
        seen.append(value)
        return b"%d" % len(seen)

    assert [await upsert(store, "a", change) for _ in range(3)] == [True] * 3
    assert seen == [None, b"1", b"2"]
    assert await store.get("a") == Entry("a", b"3", 3)


async def test_changes_at_once_add_up(store: AtomicStore) -> None:
    over_network: Any = Awaiting(store, seed=3)
    changed = await asyncio.gather(*(upsert(over_network, "a", one_more) for _ in range(20)))

    entry = await store.get("a")
    assert entry is not None
    assert int(entry.value) == sum(changed)
    assert any(changed)


async def test_a_change_that_is_refused_writes_nothing(store: AtomicStore) -> None:
    await upsert(store, "a", one_more)

    def refuse(value: bytes | None) -> bytes:
        raise TooMany(f"there are {value!r}")

    with pytest.raises(TooMany):
        await upsert(store, "a", refuse)
    assert await store.get("a") == Entry("a", b"1", 1)


async def test_each_change_begins_the_life_anew_and_an_expired_record_is_none(store: AtomicStore, clock: Clock) -> None:
    await upsert(store, "a", one_more, ttl_s=60)
    clock.advance(40)
    await upsert(store, "a", one_more, ttl_s=60)
    clock.advance(40)
    before = await store.get("a")
    clock.advance(60)
    await upsert(store, "a", one_more, ttl_s=60)

    assert before == Entry("a", b"2", 2)
    assert await store.get("a") == Entry("a", b"1", 1)


async def test_who_always_comes_too_late_gives_up_and_has_written_nothing(
    store: AtomicStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_edge.records.upsert._APART_S", 0)

    class Overtaken:
        async def get(self, key: str) -> Entry | None:
            entry = await store.get(key)
            await upsert(store, key, one_more)
            return entry

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    late: Any = Overtaken()
    assert await upsert(late, "a", lambda _: b"late") is False
    entry = await store.get("a")
    assert entry is not None
    assert int(entry.value) == entry.version


@pytest.mark.parametrize("before", [0, 1])
async def test_a_change_whose_answer_is_lost_may_be_made_and_is_not_made_twice(store: AtomicStore, before: int) -> None:
    for _ in range(before):
        await upsert(store, "a", one_more)
    losing: Any = LostAnswers(store)
    losing.lose = 1
    with pytest.raises(StoreUnavailable):
        await upsert(losing, "a", one_more)

    assert await store.get("a") == Entry("a", b"%d" % (before + 1), before + 1)
