"""What the core asks of KV and D1 for each request of a client, on Miniflare: the table in docs/storage.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcp_edge.storage.cached import LATE_S
from mcp_edge.storage.cloudflare import open_cloudflare
from tests.support.deployment import Deployment, Instance, text
from tests.support.miniflare import D1, KV, Bridge

pytestmark = pytest.mark.anyio


class Costs(Deployment):
    """Instances over one Miniflare, each with stores of its own, as isolates have."""

    def __init__(self, engine: Bridge) -> None:
        super().__init__()
        self.engine = engine

    def instance(self, name: str, platform: dict[str, Any] | None = None, **settings: Any) -> Instance:
        stores: Any = open_cloudflare(KV(self.engine), D1(self.engine), self.clock)
        self.records, self.atomics = stores
        return super().instance(name, platform, **settings)

    def spent(self) -> dict[str, int]:
        """The operations since the last time, by binding and method."""
        spent = dict(Counter(self.engine.calls))
        self.engine.calls.clear()
        return spent


@pytest.fixture
async def edge(engine: Bridge) -> AsyncIterator[Costs]:
    costs = Costs(engine)
    yield costs
    await costs.close()


async def test_a_call_of_the_new_revision_asks_neither(edge: Costs) -> None:
    a, _ = edge.pair()
    await a.modern("tools/list").whole()
    edge.spent()
    assert text((await a.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}}).whole()).json) == "x"
    assert edge.spent() == {}


async def test_a_call_in_a_session_is_one_read_of_kv(edge: Costs) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    for at in (a, b):  # an instance's first call compares the catalogue with the last deploy's
        await session.call(at, "echo", {"text": "x"}).whole()
    edge.clock.advance(LATE_S)
    edge.spent()
    for at in (a, b):
        assert text((await session.call(at, "echo", {"text": "x"}).whole()).json) == "x"
        assert edge.spent() == {"KV.get": 1}


async def test_a_call_right_after_initialize_is_one_read_of_d1_where_the_session_was_opened(edge: Costs) -> None:
    a, _ = edge.pair()
    session = await a.initialize()
    edge.spent()
    await session.call(a, "echo", {"text": "x"}).whole()
    assert edge.spent() == {"DB.raw": 1}


async def test_a_session_is_opened_with_one_write_of_kv_and_ended_with_two(edge: Costs) -> None:
    a, _ = edge.pair()
    await (await a.initialize()).delete(a)  # makes the tables
    edge.spent()
    session = await a.initialize()
    opened = edge.spent()
    edge.clock.advance(LATE_S)
    assert (await session.delete(a)).status < 300
    ended = edge.spent()
    assert (opened.pop("DB.raw") <= 4, ended.pop("DB.raw") <= 6) == (True, True)
    # Before the truth, so that a failure can be tried again; and after it, since a renewal may have come between.
    assert (opened, ended) == ({"KV.put": 1}, {"KV.get": 1, "KV.delete": 2})
