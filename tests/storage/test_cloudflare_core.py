"""The core on two isolates, each at a location of a late KV: nothing waits for KV, an ended session is gone in time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcp_edge.storage.cached import LATE_S
from mcp_edge.storage.cloudflare import open_cloudflare
from tests.storage.hostile import Location, Network
from tests.support.asgi import Call
from tests.support.deployment import Deployment, Instance, text
from tests.support.miniflare import D1, KV, Bridge

pytestmark = pytest.mark.anyio


class Locations(Deployment):
    """Each instance is an isolate at a location of its own."""

    def __init__(self, engine: Bridge) -> None:
        super().__init__()
        self._engine = engine
        self._network = Network(KV(engine), self.clock)

    def instance(self, name: str, platform: dict[str, Any] | None = None, **settings: Any) -> Instance:
        stores: Any = open_cloudflare(Location(self._network), D1(self._engine), self.clock)
        self.records, self.atomics = stores
        return super().instance(name, platform, **settings)


@pytest.fixture
async def edge(engine: Bridge) -> AsyncIterator[Locations]:
    locations = Locations(engine)
    yield locations
    await locations.close()


async def first_with(call: Call, word: str) -> tuple[dict[str, Any], str]:
    """The first message on the call's stream with `word` in it, and its event id."""
    while (event := await call.event()) is not None:
        if word in event.data:
            return json.loads(event.data), event.id or ""
    raise AssertionError(f"the stream ended without {word}")


async def test_a_session_is_known_elsewhere_as_soon_as_it_is_opened(edge: Locations) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    assert text((await session.call(b, "echo", {"text": "x"}).whole()).json) == "x"


@pytest.mark.parametrize("tool", ["greet", "greet_now"], ids=["suspended", "held"])
async def test_a_question_asked_here_is_answered_elsewhere(edge: Locations, tool: str) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, tool)
    question, _ = await first_with(call, '"elicitation/create"')
    answer = await session.answer(b, question["id"], {"action": "accept", "content": {"name": "Ann"}})
    assert answer.status == 202
    assert [text(message) for message in await call.messages()] == ["Hello, Ann!"]


async def test_a_stream_begun_here_is_resumed_elsewhere(edge: Locations) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "count", {"to": 3}, token="t")
    _, event_id = await first_with(call, '"progress"')
    await call.whole()
    rest = await session.get(b, event_id).messages()
    assert text(rest[-1]) == "counted"


async def test_a_session_ended_elsewhere_is_gone_when_the_stated_time_is_over(edge: Locations) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    edge.clock.advance(LATE_S)
    await session.call(b, "echo", {"text": "x"}).whole()
    assert (await session.delete(a)).status == 204
    late = await session.call(b, "echo", {"text": "x"}).whole()
    assert (await session.call(a, "echo", {"text": "x"}).whole()).status == 404
    edge.clock.advance(LATE_S)
    assert (late.status, (await session.call(b, "echo", {"text": "x"}).whole()).status) == (200, 404)
