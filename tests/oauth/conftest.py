"""What the authorization server's tests share: the engines that its records are kept on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from mcp_edge.storage.cloudflare import open_cloudflare
from mcp_edge.storage.dynamodb import open_dynamodb
from mcp_edge.storage.memory import open_memory
from mcp_edge.storage.sqlite import open_sqlite
from tests.oauth.counter import Counter
from tests.oauth.deployment import Deploy, Ports, deploy
from tests.oauth.granting import Office
from tests.storage.clock import Clock
from tests.storage.conftest import clock, dynamodb, dynamodb_url, engine, miniflare_url, table
from tests.storage.miniflare import D1, KV, Bridge

__all__ = ["clock", "dynamodb", "dynamodb_url", "engine", "miniflare_url", "table"]

ENGINES = ("memory", "sqlite", "dynamodb", "cloudflare")


@pytest.fixture
async def dynamodb_ports(dynamodb: str, table: str, clock: Clock) -> AsyncIterator[Ports]:
    ports = open_dynamodb(table, endpoint_url=dynamodb, clock=clock)
    yield ports
    await ports[0].aclose()


@pytest.fixture
def cloudflare_ports(engine: Bridge, clock: Clock) -> Ports:
    return open_cloudflare(KV(engine), D1(engine), clock)


@pytest.fixture
async def sqlite_ports(tmp_path: Path, clock: Clock) -> AsyncIterator[Ports]:
    ports = open_sqlite(tmp_path / "mcp.db", clock)
    yield ports
    await ports[0].aclose()


@pytest.fixture
def memory_ports(clock: Clock) -> Ports:
    return open_memory(clock)


@pytest.fixture(params=ENGINES)
def everywhere(request: pytest.FixtureRequest, clock: Clock) -> Deploy:
    """`deploy`, on each engine: for whatever depends on what is stored."""
    ports: Ports = request.getfixturevalue(f"{request.param}_ports")
    return partial(deploy, stores=(ports, clock))


@pytest.fixture(params=ENGINES)
def office(request: pytest.FixtureRequest, clock: Clock) -> Office:
    """An instance on each engine."""
    records, atomics = request.getfixturevalue(f"{request.param}_ports")
    return Office(records, atomics, clock)


@pytest.fixture
def counter(office: Office) -> Counter:
    """An instance over HTTP on each engine."""
    return Counter(office)


@pytest.fixture
def memory(memory_ports: Ports, clock: Clock) -> Counter:
    """One over HTTP in memory, for what has nothing to do with the engine."""
    return Counter(Office(*memory_ports, clock))
