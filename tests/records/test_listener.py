"""`ListenerLease` on every engine: a stream has one reader, the newest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.records.listener import ListenerLease
from mcp_edge.settings import Settings
from mcp_edge.storage.ports import AtomicStore
from tests.support.awaiting import Awaiting
from tests.support.clock import Clock
from tests.support.engines import ENGINES
from tests.support.lost_answers import LostAnswers

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest) -> AtomicStore:
    return request.getfixturevalue(f"{request.param}_ports")[1]


def listener(store: Any, clock: Clock, stream: str = "stream") -> ListenerLease:
    return ListenerLease(Platform(Settings(), store, store, clock=clock), stream)


async def test_of_many_who_take_a_stream_at_once_one_is_its_reader(store: AtomicStore, clock: Clock) -> None:
    readers = [listener(Awaiting(store, seed=n), clock) for n in range(40)]
    await asyncio.gather(*(reader.take() for reader in readers))
    mine = [await reader.is_mine() for reader in readers]
    anothers = [await reader.is_anothers() for reader in readers]
    await (newest := listener(store, clock)).take()

    assert (sum(mine), sum(anothers)) == (1, 39)
    assert [await newest.is_mine(), await listener(store, clock, "other").is_anothers()] == [True, False]
    assert not any([await reader.is_mine() for reader in readers])


async def test_who_thaws_after_another_has_taken_the_stream_sees_that(store: AtomicStore, clock: Clock) -> None:
    sleeper, newest = listener(store, clock), listener(store, clock)
    await sleeper.take()
    clock.advance(600)
    await newest.take()

    assert [await sleeper.is_mine(), await sleeper.is_anothers()] == [False, True]
    assert [await newest.is_mine(), await newest.is_anothers()] == [True, False]


async def test_a_reader_whose_answer_was_lost_is_the_reader(store: AtomicStore, clock: Clock) -> None:
    losing = LostAnswers(store)
    reader = listener(losing, clock)
    losing.lose = 1
    with pytest.raises(StoreUnavailable):
        await reader.take()

    assert await reader.is_mine()
