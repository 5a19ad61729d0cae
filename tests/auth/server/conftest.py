"""What the authorization server's tests share: the engines that its records are kept on."""

from __future__ import annotations

from functools import partial

import pytest

from tests.auth.server.deployment import Deploy, Ports, deploy
from tests.auth.server.granting import Office
from tests.auth.server.token_endpoints import Counter
from tests.support.clock import Clock
from tests.support.engines import (
    ENGINES,
    clock,
    cloudflare_ports,
    dynamodb,
    dynamodb_ports,
    engine,
    memory_ports,
    sqlite_ports,
    table,
)
from tests.support.stored_keys import known_keys

__all__ = [
    "clock", "cloudflare_ports", "dynamodb", "dynamodb_ports", "engine", "known_keys", "memory_ports", "sqlite_ports",
    "table",
]  # fmt: skip


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
