"""What the core asks of DynamoDB for each request of a client, and what the client hears when it is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcp_edge.storage.dynamodb import DynamoDBAtomics, DynamoDBRecords
from mcp_edge.storage.dynamodb_client import DynamoDBClient
from mcp_edge.storage.dynamodb_table import DynamoDBTable
from tests.storage.faulty import Fault, FaultyProxy, faulty_proxy
from tests.support.deployment import Deployment, Instance, text

pytestmark = pytest.mark.anyio


class Region(Deployment):
    """Instances over one table, each with a client of its own, as execution environments have."""

    def __init__(self, proxy: FaultyProxy, table: str) -> None:
        super().__init__()
        self.proxy = proxy
        self.table = table
        self.clients: list[DynamoDBClient] = []

    def instance(self, name: str, platform: dict[str, Any] | None = None, **settings: Any) -> Instance:
        self.clients.append(DynamoDBClient(self.proxy.url, None, patience_s=0.5, timeout_s=30))
        table = DynamoDBTable(self.clients[-1], self.table, self.clock)
        stores: Any = DynamoDBRecords(table), DynamoDBAtomics(table)
        self.records, self.atomics = stores
        return super().instance(name, platform, **settings)

    def spent(self) -> dict[str, int]:
        """The operations since the last time."""
        spent = dict(self.proxy.counted)
        self.proxy.counted.clear()
        return spent


@pytest.fixture
async def region(dynamodb: str, table: str) -> AsyncIterator[Region]:
    async with faulty_proxy(dynamodb) as proxy:
        region = Region(proxy, table)
        yield region
        await region.close()
        for client in region.clients:
            await client.aclose()


async def test_a_call_of_the_new_revision_asks_nothing(region: Region) -> None:
    a, _ = region.pair()
    await a.modern("tools/list").whole()
    region.spent()
    assert text((await a.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}}).whole()).json) == "x"
    assert region.spent() == {}


async def test_a_call_in_a_session_that_answers_with_json_is_one_read(region: Region) -> None:
    a, b = region.pair()
    session = await a.initialize()
    for at in (a, b):  # an instance's first call compares the catalogue with the last deploy's
        await session.call(at, "echo", {"text": "x"}).whole()
    region.spent()
    for at in (a, b):
        assert text((await session.call(at, "echo", {"text": "x"}).whole()).json) == "x"
        assert region.spent() == {"GetItem": 1}


async def test_a_session_is_opened_with_two_writes_between_two_looks_at_the_users_others(region: Region) -> None:
    a, _ = region.pair()
    await (await a.initialize()).delete(a)
    region.spent()
    await a.initialize()
    assert region.spent() == {"Query": 2, "PutItem": 2}


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.BROKEN, Fault.CLOSED])
async def test_a_store_that_is_away_is_503_with_retry_after_and_the_session_survives(
    region: Region, fault: Fault
) -> None:
    a, b = region.pair()
    session = await a.initialize()
    region.proxy.plan = lambda _: fault
    refused = await session.call(b, "echo", {"text": "x"}).whole()
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    region.proxy.plan = lambda _: Fault.NONE
    assert text((await session.call(b, "echo", {"text": "x"}).whole()).json) == "x"
