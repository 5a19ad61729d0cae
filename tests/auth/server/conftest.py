"""What the authorization server's tests share: the engines that its records are kept on."""

from __future__ import annotations

from functools import partial

import pytest

from tests.auth.server.deployment import Deploy, Ports, deploy
from tests.auth.server.granting import GrantInstance
from tests.auth.server.token_endpoints import TokenEndpoints
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
def granting(request: pytest.FixtureRequest, clock: Clock) -> GrantInstance:
    """An instance on each engine."""
    records, atomics = request.getfixturevalue(f"{request.param}_ports")
    return GrantInstance(records, atomics, clock)


@pytest.fixture
def endpoints(granting: GrantInstance) -> TokenEndpoints:
    """An instance over HTTP on each engine."""
    return TokenEndpoints(granting)


@pytest.fixture
def in_memory(memory_ports: Ports, clock: Clock) -> TokenEndpoints:
    """One over HTTP in memory, for what has nothing to do with the engine."""
    return TokenEndpoints(GrantInstance(*memory_ports, clock))
