"""The deployment that each test calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory

from .deployment import Edge


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def edge(anyio_backend: str) -> AsyncIterator[Edge]:
    """The deployment, spoken to on the newest revision."""
    del anyio_backend
    async with httpx.AsyncClient() as http:
        settings = Settings(
            upstream_url="https://api.example.test",
            upstream_tokens={"alice": SecretStr("alice-token")},
        )
        records, atomics = open_memory()
        yield Edge(Platform(settings, records, atomics, http=lambda: http), mode="auto")


@pytest.fixture(params=["legacy", "auto"], ids=["handshake", "modern"])
def each_era(request: pytest.FixtureRequest, edge: Edge) -> Edge:
    """The same deployment, spoken to on the handshake revisions and on the newest one."""
    edge.mode = request.param
    return edge
