"""Cancellations reach whoever runs the request, and however many are sent no more are written than there may be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.records.cancellations import MOST_PER_WINDOW, cancel, was_cancelled
from mcp_edge.settings import Settings
from tests.support.clock import Clock
from tests.support.engines import Ports

pytestmark = pytest.mark.anyio

SESSION, ANN, BOB = "a" * 32, "https://as.test||ann", "https://as.test||bob"


class Counting:
    """A store that counts what is written."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        self.writes += name in ("create", "swap", "delete")
        return getattr(self._store, name)


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Counting:
    ports: Ports = request.getfixturevalue(f"{request.param}_ports")
    return Counting(ports[1])


@pytest.fixture
def platform(store: Counting, clock: Clock) -> Platform:
    anything: Any = store
    return Platform(Settings(max_streams=2), anything, anything, clock=clock)


async def send(platform: Platform, request_id: Any, principal: str = ANN) -> None:
    await cancel(platform, SESSION, principal, {"requestId": request_id})


async def test_the_same_cancellation_again_writes_nothing_and_still_counts(
    platform: Platform, store: Counting, clock: Clock
) -> None:
    await send(platform, 1)
    before = store.writes
    clock.advance(4)
    for _ in range(50):
        await send(platform, 1)

    assert store.writes == before
    assert await was_cancelled(platform, SESSION, 1, clock.now)
    assert not await was_cancelled(platform, SESSION, "1", clock.now)


async def test_the_same_id_cancelled_later_reaches_the_request_that_has_it_by_then(
    platform: Platform, clock: Clock
) -> None:
    await send(platform, 1)
    clock.advance(30)
    before = await was_cancelled(platform, SESSION, 1, clock.now)
    await send(platform, 1)

    assert (before, await was_cancelled(platform, SESSION, 1, clock.now)) == (False, True)


async def test_parallel_cancellations_of_one_id_end_it(platform: Platform, clock: Clock) -> None:
    await asyncio.gather(*(send(platform, 1) for _ in range(20)), return_exceptions=True)

    assert await was_cancelled(platform, SESSION, 1, clock.now)


async def test_a_principal_writes_no_more_than_so_many_a_minute_and_takes_nothing_from_others(
    platform: Platform, store: Counting, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_PER_WINDOW > 256  # calls that may be under way
    monkeypatch.setattr("mcp_edge.records.cancellations.MOST_PER_WINDOW", 5)
    for n in range(5):
        await send(platform, n)
    before = store.writes
    attempts = [send(platform, n) for n in range(5, 30)]
    refusals = [await asyncio.gather(attempt, return_exceptions=True) for attempt in attempts]
    written = store.writes - before
    await send(platform, 2)  # what is stored already
    await send(platform, 100, BOB)
    assert [await was_cancelled(platform, SESSION, n, clock.now) for n in (0, 4, 5, 100)] == [True, True, False, True]
    clock.advance(61)
    await send(platform, 101)

    assert written == 0
    assert all(isinstance(refusal, TooMany) for (refusal,) in refusals)
    assert [await was_cancelled(platform, SESSION, n, clock.now) for n in (5, 101)] == [False, True]
