"""`whoami` tells the caller what the server knows of it."""

import pytest

from .deployment import Edge, value

pytestmark = pytest.mark.anyio


async def test_the_user_the_protocol_and_the_client_are_told(each_era: Edge) -> None:
    async with each_era.client() as client:
        told = value(await client.call_tool("whoami"))
        version = client.protocol_version

    assert told == {
        "name": "Alice",
        "subject": "alice",
        "issuer": "test",
        "protocol_version": version,
        "client": {"name": "mcp", "version": told["client"]["version"], "capabilities": []},
    }
    assert version >= "2025-11-25"
