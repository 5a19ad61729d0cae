"""`Lease` on every engine: at any time one owner, whoever sleeps, comes late or loses an answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.records.lease import Lease, end_members, end_of, is_late
from mcp_edge.settings import Settings
from mcp_edge.storage.ports import AtomicStore
from tests.support.awaiting import Awaiting
from tests.support.clock import Clock
from tests.support.engines import ENGINES
from tests.support.lost_answers import LostAnswers

pytestmark = pytest.mark.anyio

KEY = "running/lease"
TTL_S = 3600


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest) -> AtomicStore:
    return request.getfixturevalue(f"{request.param}_ports")[1]


class Owner:
    """An instance that wants the lease."""

    def __init__(self, store: Any, clock: Clock) -> None:
        self.lease = Lease(Platform(Settings(), store, store, clock=clock), KEY, ttl_s=TTL_S)

    def value(self, *, until: float | None = None) -> bytes:
        end = self.lease.until() if until is None else until
        return json.dumps({"owner": self.lease.owner, "until": end}).encode()

    async def take(self) -> bool:
        return await self.lease.take(self.value())

    async def take_over(self, version: int) -> bool:
        return await self.lease.take_over(self.value(), version)

    async def renew(self) -> bool:
        return await self.lease.renew(self.value())


async def found(store: AtomicStore) -> tuple[dict[str, Any], int]:
    """What the record says, and its version."""
    entry = await store.get(KEY)
    assert entry is not None
    return json.loads(entry.value), entry.version


async def test_who_takes_it_has_it_until_the_second_that_the_record_says(store: AtomicStore, clock: Clock) -> None:
    owner = Owner(store, clock)
    taken = await owner.take()
    record, version = await found(store)
    end = clock.now + Settings().lease_s

    assert taken
    assert (record, version) == ({"owner": owner.lease.owner, "until": end}, 1)
    assert [is_late(end_of(record), now) for now in (clock.now, end - 0.5, end)] == [False, False, True]


async def test_of_many_who_take_it_at_once_one_has_it(store: AtomicStore, clock: Clock) -> None:
    owners = [Owner(Awaiting(store, seed=n), clock) for n in range(20)]
    taken = await asyncio.gather(*(owner.take() for owner in owners))
    renewed = [await owner.renew() for owner in owners]

    assert sum(taken) == 1
    assert renewed == taken
    assert (await found(store))[0]["owner"] == owners[taken.index(True)].lease.owner


async def test_of_many_who_take_a_late_one_over_at_once_one_has_it(store: AtomicStore, clock: Clock) -> None:
    old = Owner(store, clock)
    await old.take()
    clock.advance(60)
    _, version = await found(store)
    owners = [Owner(Awaiting(store, seed=n), clock) for n in range(20)]
    taken = await asyncio.gather(*(owner.take_over(version) for owner in owners))
    renewed = [await owner.renew() for owner in (old, *owners)]

    assert sum(taken) == 1
    assert renewed == [False, *taken]


async def test_of_an_owner_and_who_takes_it_over_at_the_same_time_one_has_it(store: AtomicStore, clock: Clock) -> None:
    for seed in range(20):
        old, new = Owner(Awaiting(store, seed), clock), Owner(Awaiting(store, seed + 100), clock)
        await old.take()
        clock.advance(60)
        _, version = await found(store)
        renewed, taken = await asyncio.gather(old.renew(), new.take_over(version))

        assert renewed is not taken
        assert (await found(store))[0]["owner"] == (old if renewed else new).lease.owner
        await store.delete(KEY)


async def test_who_thaws_after_a_takeover_has_lost_it_and_changes_nothing(store: AtomicStore, clock: Clock) -> None:
    sleeper, new = Owner(store, clock), Owner(store, clock)
    await sleeper.take()
    await sleeper.renew()
    clock.advance(60)
    _, version = await found(store)
    assert await new.take_over(version)
    before = await found(store)

    assert [await sleeper.renew(), await sleeper.take()] == [False, False]
    assert await found(store) == before
    assert await new.renew()


async def test_who_thaws_before_anybody_took_it_over_goes_on(store: AtomicStore, clock: Clock) -> None:
    sleeper = Owner(store, clock)
    await sleeper.take()
    clock.advance(TTL_S - 2)

    assert await sleeper.renew()
    assert not is_late(end_of((await found(store))[0]), clock.now)


async def test_a_lease_whose_record_has_expired_is_lost_and_free(store: AtomicStore, clock: Clock) -> None:
    sleeper, new = Owner(store, clock), Owner(store, clock)
    await sleeper.take()
    clock.advance(TTL_S + 2)  # DynamoDB counts whole seconds

    assert [await sleeper.renew(), await new.take()] == [False, True]


async def test_who_gives_it_up_by_its_end_can_be_followed_at_once(store: AtomicStore, clock: Clock) -> None:
    old, new = Owner(store, clock), Owner(store, clock)
    await old.take()
    await old.lease.renew(old.value(until=0))
    record, version = await found(store)

    assert is_late(end_of(record), clock.now)
    assert [await new.take_over(version), await old.renew()] == [True, False]


async def test_what_is_released_is_free(store: AtomicStore, clock: Clock) -> None:
    old, new = Owner(store, clock), Owner(store, clock)
    await old.take()
    await old.lease.release()

    assert [await old.renew(), await new.take()] == [False, True]


@pytest.mark.parametrize("lost", ["take", "renew"])
async def test_an_owner_whose_answer_was_lost_still_has_it(store: AtomicStore, clock: Clock, lost: str) -> None:
    losing = LostAnswers(store)
    owner = Owner(losing, clock)
    if lost == "renew":
        await owner.take()
    losing.lose = 1
    with pytest.raises(StoreUnavailable):
        await getattr(owner, lost)()

    assert [await owner.renew() for _ in range(2)] == [True, True]


@pytest.mark.parametrize("lost", ["take", "renew"])
async def test_an_owner_whose_answer_was_lost_before_a_takeover_has_lost_it(
    store: AtomicStore, clock: Clock, lost: str
) -> None:
    losing = LostAnswers(store)
    owner, new = Owner(losing, clock), Owner(store, clock)
    if lost == "renew":
        await owner.take()
    losing.lose = 1
    with pytest.raises(StoreUnavailable):
        await getattr(owner, lost)()
    clock.advance(60)
    assert await new.take_over((await found(store))[1])

    assert [await owner.renew(), await new.renew()] == [False, True]


async def test_a_takeover_whose_answer_was_lost_is_its_takers(store: AtomicStore, clock: Clock) -> None:
    losing = LostAnswers(store)
    old, new, other = Owner(store, clock), Owner(losing, clock), Owner(store, clock)
    await old.take()
    clock.advance(60)
    _, version = await found(store)
    losing.lose = 1
    with pytest.raises(StoreUnavailable):
        await new.take_over(version)

    assert [await other.take_over(version), await old.renew(), await new.take_over(version)] == [False, False, True]


def test_a_record_with_an_annex_is_never_late_for_a_release_that_knows_none() -> None:
    plain, annexed = end_members(5, annexed=False), end_members(5, annexed=True)

    assert (plain, annexed) == ({"until": 5}, {"until": 1e12, "lease": 5})
    assert [end_of(plain), end_of(annexed)] == [5, 5]
