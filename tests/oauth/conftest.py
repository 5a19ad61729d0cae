"""What the authorization server's tests share: the engines that its records are kept on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.oauth.counter import Counter
from tests.oauth.deployment import Deploy, Ports, deploy
from tests.oauth.granting import Office
from tests.storage.clock import Clock
from tests.storage.conftest import (
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
from tests.support.stored_keys import only_known_keys

__all__ = [
    "ENGINES", "clock", "cloudflare_ports", "dynamodb", "dynamodb_ports", "engine", "memory_ports", "sqlite_ports",
    "table",
]  # fmt: skip


@pytest.fixture(autouse=True)
def known_keys() -> Iterator[None]:
    """Every test stores what the tables of keys know, and nothing else."""
    with only_known_keys():
        yield


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
