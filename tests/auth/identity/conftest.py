"""One real provider for the tests that leave it as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.auth.identity.provider import Provider
from tests.auth.server.conftest import everywhere
from tests.support.engines import (
    clock,
    cloudflare_ports,
    dynamodb,
    dynamodb_ports,
    engine,
    memory_ports,
    sqlite_ports,
    table,
)

__all__ = [
    "clock",
    "cloudflare_ports",
    "dynamodb",
    "dynamodb_ports",
    "engine",
    "everywhere",
    "memory_ports",
    "sqlite_ports",
    "table",
]


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """A provider whose users are whoever they say they are."""
    with Provider() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The server's own way to the provider."""
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client
