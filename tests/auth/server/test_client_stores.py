"""Counts and clients on every engine that keeps them: several instances at once, and later."""

from __future__ import annotations

import asyncio

import pytest

from mcp_edge.auth.server.attempts import PER_WINDOW, Attempt, Attempts
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.auth.server.clients.registered import UNUSED_TTL_S
from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from tests.auth.server.deployment import Ports
from tests.auth.server.test_clients import NATIVE, WEB
from tests.support.clock import Clock
from tests.support.engines import ENGINES

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ENGINES)
def platform(request: pytest.FixtureRequest, clock: Clock) -> Platform:
    """A host on each engine."""
    ports: Ports = request.getfixturevalue(f"{request.param}_ports")
    return Platform(Settings(), *ports, clock=clock)


async def passed(platform: Platform, what: Attempt, attempts: int) -> int:
    """How many of so many attempts at once, on as many instances, are let through."""

    async def attempt() -> bool:
        try:
            await Attempts(platform).count(what, "198.51.100.7")
        except TooMany:
            return False
        return True

    return sum(await asyncio.gather(*(attempt() for _ in range(attempts))))


async def test_of_attempts_at_once_no_more_than_the_limit_are_let_through(platform: Platform) -> None:
    assert await passed(platform, "new-client", 20) == PER_WINDOW["new-client"]


@pytest.mark.serial  # who loses too often is refused, and how often one loses depends on what runs beside it
async def test_attempts_at_once_within_the_limit_are_all_let_through(platform: Platform) -> None:
    assert await passed(platform, "token", 30) == 30


async def test_parallel_registrations_make_one_client_that_stays(platform: Platform, clock: Clock) -> None:
    instances = [Clients(platform, Attempts(platform)) for _ in range(5)]
    answers = await asyncio.gather(*(clients.register(NATIVE) for clients in instances))
    assert len({answer["client_id"] for answer in answers}) == 1
    clock.advance(UNUSED_TTL_S - 1)
    found = await instances[0].find(answers[0]["client_id"])
    assert found is not None
    await instances[0].used(found)
    clock.advance(UNUSED_TTL_S)
    assert await instances[1].find(answers[0]["client_id"]) is not None


async def test_an_unused_registration_is_gone_after_a_day(platform: Platform, clock: Clock) -> None:
    clients = Clients(platform, Attempts(platform))
    client_id = (await clients.register(WEB))["client_id"]
    clock.advance(UNUSED_TTL_S)
    assert await clients.find(client_id) is None
