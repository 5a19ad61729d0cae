"""The engines that stores are kept on, as fixtures: a folder that needs them names them in its conftest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from mcp_edge.storage.cloudflare import open_cloudflare
from mcp_edge.storage.dynamodb import open_dynamodb
from mcp_edge.storage.dynamodb_table import create_table
from mcp_edge.storage.memory import open_memory
from mcp_edge.storage.ports import AtomicStore, RecordStore
from mcp_edge.storage.sqlite import open_sqlite
from tests.support.clock import Clock
from tests.support.miniflare import D1, KV, Bridge, bridge
from tests.support.ministack import CREDENTIALS

Ports = tuple[RecordStore, AtomicStore]

ENGINES = ("memory", "sqlite", "dynamodb", "cloudflare")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(miniflare_url: str) -> AsyncIterator[Bridge]:
    """Miniflare's KV and D1, empty."""
    async with bridge(miniflare_url) as connected:
        yield connected


@pytest.fixture
def dynamodb(dynamodb_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The endpoint of a DynamoDB that takes this process's credentials."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return dynamodb_url


@pytest.fixture
async def table(dynamodb: str) -> str:
    """A new table."""
    name = f"table-{uuid4().hex}"
    await create_table(name, endpoint_url=dynamodb)
    return name


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
