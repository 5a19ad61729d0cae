"""A store that takes longer than the quiet period changes when an answer comes, not what is in it."""

from __future__ import annotations

import asyncio

import anyio
import httpx

from mcp_edge.app import create_app
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryRecords, open_memory
from tests.resilience.server import create_server


class SlowRecords(MemoryRecords):
    """Records whose writes take three quiet periods."""

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await anyio.sleep(0.03)
        await super().put(key, value, ttl_s=ttl_s)


def test_initialize_on_a_slow_store_still_names_its_session() -> None:
    settings = Settings.from_env({"MCP_QUIET_S": "0.01", "MCP_SECRET_KEYS": "k" * 32})
    platform = Platform(settings=settings, records=SlowRecords(), atomics=open_memory()[1])
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "slow", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}

    async def initialize() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(create_server, platform))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            headers = {"accept": "application/json, text/event-stream"}
            return await client.post("/mcp", json=message, headers=headers)

    response = asyncio.run(initialize())
    assert response.json()["id"] == 1
    assert len(response.headers["mcp-session-id"]) > 32
