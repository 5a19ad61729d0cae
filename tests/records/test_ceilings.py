"""What has a ceiling keeps it on every engine, also where everybody counts and writes at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import Signer
from mcp_edge.records.listener import ListenerLease
from mcp_edge.records.quotas import SLOT_S, Quotas, QuotaSlot
from mcp_edge.records.sessions import Sessions
from mcp_edge.settings import Settings
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User
from tests.support.awaiting import Awaiting
from tests.support.clock import Clock
from tests.support.engines import ENGINES, Ports

pytestmark = pytest.mark.anyio

ANN = User("https://as.test", "ann")
OF_ANN = short_hash(ANN.principal)
CLIENT: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


EMULATED = ("dynamodb", "cloudflare")
CROWDS = pytest.mark.parametrize(
    ("platform", "many"),
    [
        *((engine, 40) for engine in ENGINES if engine not in EMULATED),
        *((engine, 12) for engine in EMULATED),
        *(pytest.param(engine, 40, marks=pytest.mark.deep) for engine in EMULATED),
    ],
    indirect=["platform"],
)
"""How many come at once: an emulated engine, which takes its time, has as many as elsewhere in `make test-deep`."""


@pytest.fixture(params=ENGINES)
def platform(request: pytest.FixtureRequest, clock: Clock) -> Platform:
    """A host on each engine, all of whose operations wait."""
    ports: Ports = request.getfixturevalue(f"{request.param}_ports")
    records: Any = Awaiting(ports[0], seed=1)
    atomics: Any = Awaiting(ports[1], seed=2)
    return Platform(Settings(max_streams=4, max_sessions=5, max_log_bytes=65536), records, atomics, clock=clock)


async def let_in(attempts: list[Awaitable[Any]]) -> list[Any]:
    """What those attempts made that were not refused, all begun at once."""
    ends = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(isinstance(end, TooMany) for end in ends if isinstance(end, BaseException)), ends
    return [end for end in ends if not isinstance(end, BaseException)]


def hold(platform: Platform, name: str = "") -> Awaitable[QuotaSlot]:
    return Quotas(platform).take_slot("streams", ANN.principal, 4, name)


@CROWDS
async def test_of_holds_at_once_as_many_are_let_in_as_there_are_places(platform: Platform, many: int) -> None:
    holds = await let_in([hold(platform) for _ in range(many)])
    counted = await platform.atomics.read(f"hold/{OF_ANN}/")
    with pytest.raises(TooMany):
        await hold(platform)
    for each in holds:
        await each.release()

    assert (len(holds), len(counted)) == (4, 4)
    assert len(await let_in([hold(platform) for _ in range(4)])) == 4


async def test_what_has_a_name_has_one_place_whoever_takes_it_and_its_last_holder_gives_it_back(
    platform: Platform,
) -> None:
    first, *others = [await hold(platform, name) for name in ("stream", "b", "c", "d")]
    second = await hold(platform, "stream")
    await first.release()
    with pytest.raises(TooMany):
        await hold(platform)
    await second.release()
    await hold(platform)

    assert len(others) == 3


async def test_what_has_ended_counts_for_nobody_who_has_its_name(platform: Platform) -> None:
    first, *others = [await hold(platform, name) for name in ("stream", "b", "c", "d")]
    reader = await hold(platform, "stream")
    await first.release(for_all=True)
    await hold(platform)
    await reader.release()
    with pytest.raises(TooMany):
        await hold(platform)

    assert len(others) == 3


@CROWDS
async def test_of_many_who_take_a_stream_at_once_one_is_its_reader(platform: Platform, many: int) -> None:
    readers = [ListenerLease(platform, "stream") for _ in range(many)]
    await asyncio.gather(*(reader.take() for reader in readers))
    mine = [await reader.is_mine() for reader in readers]
    anothers = [await reader.is_anothers() for reader in readers]
    await (newest := ListenerLease(platform, "stream")).take()

    assert (sum(mine), sum(anothers)) == (1, many - 1)
    assert [await newest.is_mine(), await ListenerLease(platform, "other").is_anothers()] == [True, False]
    assert not any([await reader.is_mine() for reader in readers])


async def test_who_slept_until_its_place_was_anothers_holds_nothing_more_and_takes_nothing_back(
    platform: Platform, clock: Clock
) -> None:
    sleeper = await hold(platform)
    clock.advance(SLOT_S + 2)  # DynamoDB counts whole seconds
    awake = await let_in([hold(platform) for _ in range(4)])
    with pytest.raises(TooMany):
        await sleeper.keep()
    await sleeper.release()

    assert len(await platform.atomics.read(f"hold/{OF_ANN}/")) == len(awake) == 4


async def test_who_slept_takes_another_place_where_there_is_one(platform: Platform, clock: Clock) -> None:
    sleeper = await hold(platform)
    clock.advance(SLOT_S + 2)
    await let_in([hold(platform) for _ in range(3)])
    await sleeper.keep()

    assert len(await platform.atomics.read(f"hold/{OF_ANN}/")) == 4


def opening(platform: Platform) -> Awaitable[Any]:
    sessions = Sessions(platform, Signer([b"k" * 32]))
    return sessions.open(sessions.mint(), ANN, CLIENT, "2025-11-25")


@pytest.mark.parametrize(
    ("platform", "many"),
    [
        *((engine, 96) for engine in ENGINES if engine not in EMULATED),
        *((engine, 12) for engine in EMULATED),
        *(pytest.param(engine, 32, marks=pytest.mark.deep) for engine in EMULATED),
    ],
    indirect=["platform"],
)
async def test_of_sessions_at_once_no_more_are_left_than_there_may_be(platform: Platform, many: int) -> None:
    await let_in([opening(platform) for _ in range(many)])
    left = await platform.records.list(f"sessions/{OF_ANN}/", limit=100)

    assert 0 < len(left) <= 5
    assert all([await platform.records.get(f"session/{roll.rpartition('-')[2]}") for roll in left])


async def test_sessions_of_which_there_are_too_many_become_fewer(platform: Platform, clock: Clock) -> None:
    for _ in range(12):  # as where the setting has been made smaller
        clock.advance(1)
        roomy = Platform(Settings(max_sessions=50), platform.records, platform.atomics, clock=clock)
        await opening(roomy)
    newest = await opening(platform)
    left = await platform.records.list(f"sessions/{OF_ANN}/")

    assert len(left) == 5
    assert left[-1].endswith(newest.key)


async def test_the_newest_session_is_never_the_one_that_gives_way(platform: Platform) -> None:
    for _ in range(8):  # the clock stands still: the order is that of the openings all the same
        newest = await opening(platform)
        assert (await platform.records.list(f"sessions/{OF_ANN}/"))[-1].endswith(newest.key)


@CROWDS
async def test_of_subscriptions_at_once_no_more_are_left_than_there_may_be(
    platform: Platform, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_edge.records.sessions.MOST_SUBSCRIPTIONS", 8)
    sessions = Sessions(platform, Signer([b"k" * 32]))
    session = await opening(platform)
    await let_in([sessions.subscribe(session, f"note://{n}") for n in range(many)])

    assert len(await platform.records.list(f"subscription/{session.key}/", limit=500)) == 8


async def test_of_bytes_at_once_no_more_are_counted_than_there_may_be(platform: Platform) -> None:
    quotas = Quotas(platform)
    charged = await let_in([quotas.charge(ANN.principal, 10_000) for _ in range(20)])
    await let_in([quotas.charge(ANN.principal, 1000) for _ in range(5)])

    assert len(charged) == 6
    assert await quotas.may_log(ANN.principal)
