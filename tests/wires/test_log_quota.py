"""What streams store is counted before they store it, however many there are and however much each of them says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

from mcp_edge.app import create_app
from mcp_edge.calls.logged_stream import NOT_KEPT
from mcp_edge.settings import Settings
from mcp_edge.tools.current import changes_bus
from tests.support.awaiting import Awaiting
from tests.support.deployment import Deployment, Instance, text
from tests.wires.test_http_sse import STREAM, Client
from tests.wires.test_stored_bytes import stored

pytestmark = pytest.mark.anyio

LIMIT = 65536
SAID = 5000
STREAMS = 20
OVER = 2 * SAID + STREAMS * 2048
"""One message too many, and what short streams hold that nobody counts before their end."""


def create_server(_: Settings) -> MCPServer[Any]:
    server = MCPServer("talkative", subscriptions=changes_bus())

    @server.tool(structured_output=False, annotations=ToolAnnotations(read_only_hint=True))
    async def talk(ctx: Context, times: int = 9, size: int = SAID, answer: int = 2) -> str:
        """Says much."""
        for n in range(times):
            await ctx.report_progress(n, times, "x" * size)
        return "y" * answer

    return server


class Talkative(Deployment):
    """Instances of this file's server, at the beginning of an hour."""

    def __init__(self) -> None:
        super().__init__()
        self.clock.now -= self.clock.now % 3600

    def instance(self, name: str, platform: dict[str, Any] | None = None, **settings: Any) -> Instance:
        instance = super().instance(name, platform, **settings)
        instance.app = create_app(create_server, instance.platform)
        return instance


@pytest.fixture
async def edge() -> AsyncIterator[Talkative]:
    deployment = Talkative()
    yield deployment
    await deployment.close()


async def counted(edge: Talkative) -> int:
    return sum([int(entry.value) for entry in await edge.atomics.read("logged/")])


@pytest.mark.parametrize("version", ["2025-03-26", "2025-11-25"])
async def test_streams_that_talk_at_the_same_time_store_no_more_than_the_quota(edge: Talkative, version: str) -> None:
    a = edge.instance("A", max_log_bytes=LIMIT, max_streams=STREAMS)
    session = await a.initialize(version)
    far: Any = a.platform.atomics
    far.store = Awaiting(edge.atomics)
    calls = [session.call(a, "talk", id=n, token=f"t{n}") for n in range(STREAMS)]
    said = [await call.messages() for call in calls]

    assert await stored(edge, "stream/") <= LIMIT + OVER
    assert [len(messages) for messages in said] == [10] * STREAMS
    assert {text(messages[-1]) for messages in said} == {"yy"}


async def test_calls_on_http_sse_that_talk_store_no_more_than_the_quota(edge: Talkative) -> None:
    a = edge.instance("A", max_log_bytes=LIMIT, max_streams=STREAMS)
    client = await Client(a, a).open()
    await asyncio.gather(*[client.call("talk", id=n, progressToken=f"t{n}") for n in range(8)])
    messages = [await client.stream.message() for _ in range(80)]

    assert await stored(edge, "outbox/") <= LIMIT + 2 * SAID + 2048
    assert [text(message) for message in messages if "id" in message] == ["yy"] * 8


async def test_an_http_sse_stream_that_was_closed_has_been_counted(edge: Talkative) -> None:
    a = edge.instance("A")
    client = await Client(a, a).open()
    before = await counted(edge)
    await client.call("talk", id=1, progressToken="t")
    while "id" not in await client.stream.message():
        pass
    await client.stream.disconnect()
    await client.stream.gone()

    assert await counted(edge) - before >= 9 * SAID


async def used_up(edge: Talkative, at: Instance) -> None:
    """Have the user store all that may be stored but a little."""
    session = await at.initialize()
    await session.call(at, "talk", {"size": LIMIT // 9 - 200}, token="p").messages()
    assert LIMIT - 6000 < await counted(edge) < LIMIT


async def test_an_answer_that_does_not_fit_reaches_who_is_there_and_who_comes_back_is_told(edge: Talkative) -> None:
    a = edge.instance("A", max_log_bytes=LIMIT)
    await used_up(edge, a)
    session = await a.initialize()
    call = session.call(a, "talk", {"times": 2, "answer": 20_000}, token="p", id="mine")
    messages = await call.messages()
    ids = [entry.key for entry in await edge.atomics.read("stream/", limit=1000) if entry.value[:1] == b"f"]
    again = await session.get(a, call.last_id.partition(".")[0] + ".0").messages()

    assert len(text(messages[-1])) == 20_000
    assert (again[-1]["id"], again[-1]["error"]) == ("mine", {"code": -32600, "message": NOT_KEPT})
    assert len(ids) == 2


async def test_an_answer_on_http_sse_that_does_not_fit_reaches_who_is_there(edge: Talkative) -> None:
    a = edge.instance("A", max_log_bytes=LIMIT)
    client = await Client(a, a).open()
    begun = client.stream.last_id.rpartition(":")[0] + ":1"
    await asyncio.gather(*[client.call("talk", {"times": 0, "answer": 20_000}, id=n) for n in range(6)])
    got = [await client.stream.message() for _ in range(6)]
    await client.stream.disconnect()
    await client.stream.gone()
    resumed = a.send("GET", "/sse", [*STREAM, ("last-event-id", begun)])
    await resumed.event()
    again = [await resumed.message() for _ in range(6)]

    assert [len(text(message)) for message in got] == [20_000] * 6
    assert [message["id"] for message in again] == [message["id"] for message in got]
    assert [message for message in again if "error" in message]
    assert {message["error"]["message"] for message in again if "error" in message} == {NOT_KEPT}


@pytest.mark.parametrize(("times", "size"), [(3, 50), (9, 30_000)])
async def test_what_was_counted_ahead_is_given_back(edge: Talkative, times: int, size: int) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    call = session.call(a, "talk", {"times": times, "size": size, "answer": 40_000}, token="p")
    events = await call.rest()

    kept = await stored(edge, "stream/")
    assert None not in [event.id for event in events]
    assert kept - 1000 < await counted(edge) <= kept


async def test_a_call_that_says_little_is_counted_once(edge: Talkative) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    done: Counter[str] = Counter()
    atomics: Any = a.platform.atomics
    for name in ("get", "create", "swap"):
        _watch(atomics, name, done)
    await session.call(a, "talk", {"size": 100}, token="p").messages()

    assert done == {"get": 2, "create": 1}


def _watch(atomics: Any, name: str, done: Counter[str]) -> None:
    original = getattr(atomics, name)

    async def watched(key: str, *value: Any, **named: Any) -> Any:
        done[name] += key.startswith("logged/")
        return await original(key, *value, **named)

    setattr(atomics, name, watched)
