"""Clients that got no tokens yet have a bounded room in sum: the oldest gives way, and never one that got tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_edge.auth.server.attempts import Attempts
from mcp_edge.auth.server.clients import unused
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from tests.auth.server.deployment import Ports
from tests.auth.server.test_client_documents import Strangers
from tests.auth.server.test_clients import NATIVE, WEB
from tests.support.awaiting import Awaiting
from tests.support.clock import Clock
from tests.support.engines import ENGINES

pytestmark = pytest.mark.anyio

PLACES = 8


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused, "PLACES", PLACES)


@pytest.fixture(params=ENGINES)
def platform(request: pytest.FixtureRequest, clock: Clock) -> Platform:
    """A host on each engine, all of whose operations wait."""
    ports: Ports = request.getfixturevalue(f"{request.param}_ports")
    records: Any = Awaiting(ports[0], seed=1)
    atomics: Any = Awaiting(ports[1], seed=2)
    return Platform(Settings(), records, atomics, clock=clock)


async def registered(clients: Clients, n: object, **more: Any) -> str:
    """A new client's id."""
    return (await clients.register({**WEB, "client_name": f"n{n}", **more}))["client_id"]


async def known(clients: Clients, ids: list[str]) -> list[bool]:
    return [await clients.find(client_id) is not None for client_id in ids]


async def test_the_oldest_clients_that_got_no_tokens_give_way(platform: Platform) -> None:
    clients = Clients(platform, Attempts(platform))
    ids = [await registered(clients, n) for n in range(PLACES + 3)]

    assert await known(clients, ids) == [False] * 3 + [True] * PLACES


async def test_a_client_that_got_tokens_never_gives_way(platform: Platform) -> None:
    clients = Clients(platform, Attempts(platform))
    ids = [await registered(clients, "used"), (await clients.register(NATIVE))["client_id"]]
    for client_id in ids:
        found = await clients.find(client_id)
        assert found is not None
        await clients.used(found)
    for n in range(2 * PLACES):
        await registered(clients, n)

    assert await known(clients, ids) == [True] * 2


async def test_clients_that_come_at_the_same_time_are_all_counted(platform: Platform) -> None:
    clients = [Clients(platform, Attempts(platform)) for _ in range(2 * PLACES)]
    ids = await asyncio.gather(*(registered(each, n) for n, each in enumerate(clients)))
    later = [await registered(clients[0], f"later {n}") for n in range(PLACES)]

    assert not any(await known(clients[0], list(ids)))
    assert await known(clients[0], later) == [True] * PLACES


async def test_a_large_client_takes_the_places_of_several(memory_ports: Ports, clock: Clock) -> None:
    platform = Platform(Settings(), *memory_ports, clock=clock)
    clients = Clients(platform, Attempts(platform))
    small = [await registered(clients, n) for n in range(PLACES)]
    uris = [f"https://app.example/{n}/" + "x" * 400 for n in range(8)]
    large = await registered(clients, "large", redirect_uris=uris)
    kept = await platform.records.list("client/", limit=100)
    sizes = [len(await platform.records.get(key) or b"") for key in kept]

    assert sum(sizes) <= PLACES * unused.PLACE_BYTES
    assert (await known(clients, small)).count(True) == PLACES - 4
    assert await known(clients, [large]) == [True]


async def test_who_registers_the_same_again_has_a_place_that_lasts_and_takes_no_other_s(
    memory_ports: Ports, clock: Clock
) -> None:
    platform = Platform(Settings(), *memory_ports, clock=clock)
    clients = Clients(platform, Attempts(platform))
    first = await registered(clients, 0)
    again = (await clients.register(NATIVE))["client_id"]
    for _ in range(5 * PLACES):  # the same over and over takes nothing from anybody
        await clients.register(NATIVE)
    assert await known(clients, [first, again]) == [True] * 2
    for n in range(1, PLACES - 1):
        await registered(clients, n)
    await clients.register(NATIVE)  # its place would be somebody else's soon
    for n in range(PLACES, 2 * PLACES - 4):
        await registered(clients, n)

    assert await known(clients, [first, again]) == [False, True]


async def test_clients_with_documents_have_no_room_of_their_own() -> None:
    there = Strangers()
    await there.authorize()
    for n in range(PLACES):
        await registered(there.clients, n)

    assert await there.clients.find("https://client.example/app.json") is None
    assert await there.authorize() is not None  # it is fetched again
    await there.get_tokens()
    for n in range(2 * PLACES):
        await registered(there.clients, f"more {n}")
    assert await there.clients.find("https://client.example/app.json") is not None
