"""An answer to a question is read once and is small, so that who answers half of what is asked costs no more by it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, MCPServer, Resolve
from pydantic import BaseModel

from mcp_edge.app import create_app
from mcp_edge.protocol.bounds import MAX_ANSWER_BYTES
from mcp_edge.settings import Settings
from mcp_edge.storage.ports import AtomicStore, Entry
from mcp_edge.tools.current import changes_bus
from tests.support.asgi import Answer
from tests.support.deployment import Deployment, Instance, Session, text
from tests.wires.test_http_sse import Client
from tests.wires.test_questions import asked

pytestmark = pytest.mark.anyio

LOGGED_BYTES = 400_000


class Name(BaseModel):
    """A form of one field."""

    name: str


async def _first() -> Elicit[Name]:
    return Elicit("Your first name?", Name)


async def _last() -> Elicit[Name]:
    return Elicit("Your last name?", Name)


async def _loud(ctx: Context) -> Elicit[Name]:
    for n in range(8):
        await ctx.report_progress(n, 8, "x" * (LOGGED_BYTES // 8))
    return Elicit("Your name?", Name)


def create_server(_: Settings) -> MCPServer[Any]:
    server = MCPServer("answers", subscriptions=changes_bus())

    @server.tool(structured_output=False)
    async def both(
        a: Annotated[ElicitationResult[Name], Resolve(_first)], b: Annotated[ElicitationResult[Name], Resolve(_last)]
    ) -> str:
        """Asks two questions at once."""
        return " ".join(each.action for each in (a, b))

    @server.tool(structured_output=False)
    async def talk(a: Annotated[ElicitationResult[Name], Resolve(_loud)]) -> str:
        """Says much before it asks."""
        return a.action

    return server


class Asking(Deployment):
    """Instances of this file's server."""

    def instance(self, name: str, platform: dict[str, Any] | None = None, **settings: Any) -> Instance:
        instance = super().instance(name, platform, **settings)
        instance.app = create_app(create_server, instance.platform)
        return instance


@pytest.fixture
async def edge() -> AsyncIterator[Asking]:
    deployment = Asking()
    yield deployment
    await deployment.close()


class Read:
    """A store that counts its reads, and the bytes that they return, by the first part of the keys."""

    def __init__(self, store: AtomicStore) -> None:
        self._store = store
        self.reads: Counter[str] = Counter()
        self.found: Counter[str] = Counter()

    @classmethod
    def of(cls, instance: Instance) -> Read:
        far: Any = instance.platform.atomics
        far.store = cls(far.store)
        return far.store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def clear(self) -> None:
        self.reads.clear()
        self.found.clear()

    def _count(self, key: str, entries: list[Entry]) -> None:
        self.reads[key.partition("/")[0]] += 1
        self.found[key.partition("/")[0]] += sum(len(entry.value) for entry in entries)

    async def get(self, key: str) -> Entry | None:
        entry = await self._store.get(key)
        self._count(key, [] if entry is None else [entry])
        return entry

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        entries = await self._store.read(prefix, after=after, limit=limit)
        self._count(prefix, entries)
        return entries


def accepted(size: int) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": "n" * size}}


async def looks(read: Read, count: int) -> None:
    """Wait until so many answers were looked for."""
    async with asyncio.timeout(10):
        while read.reads["answer"] < count:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("answered", [0, 1])
async def test_an_answer_is_read_once_while_another_is_missing(edge: Asking, answered: int) -> None:
    a, b = edge.pair()
    session, read = await a.initialize(), Read.of(a)
    call = session.call(a, "both")
    questions = [(await asked(call))[0]["id"] for _ in range(2)]
    big = await session.answer(b, questions[answered], accepted(200_000))
    await looks(read, 3)
    read.clear()
    await looks(read, 20)
    most = read.found["answer"]
    await session.answer(b, questions[1 - answered], accepted(1))

    assert big.status == 202
    assert most < 250_000
    assert text((await call.messages())[-1]) == "accept accept"


async def test_who_comes_back_again_and_again_before_the_answer_has_the_log_read_no_further_than_the_question(
    edge: Asking,
) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "talk", token="p")
    while "method" not in (message := await call.message()) or message["method"] != "elicitation/create":
        pass
    seen = call.last_id
    await call.disconnect()
    await call.gone()
    read = Read.of(b)
    for _ in range(5):
        resumed = await session.get(b, seen).start()
        await edge.until(lambda: read.reads["answer"] > 0)
        await resumed.disconnect()
        await resumed.gone()
    cost = read.found["stream"]
    resumed = await session.get(b, seen).start()
    await session.answer(a, message["id"], accepted(1))

    assert cost < LOGGED_BYTES / 4
    assert text((await resumed.messages())[-1]) == "accept"


class Way:
    """How a client answers on one wire."""

    def __init__(self, edge: Asking, wire: str) -> None:
        self.a = edge.instance("A")
        self.wire = wire
        self.session: Session | None = None
        self.client: Client | None = None

    async def asked(self) -> list[Any]:
        """The ids of the two questions."""
        if self.wire == "sse":
            self.client = await Client(self.a, self.a).open(elicitation={})
            await self.client.call("both")
            self.stream = self.client.stream
        else:
            self.session = await self.a.initialize("2025-03-26")
            self.stream = self.session.call(self.a, "both")
        return [(await self.stream.message())["id"] for _ in range(2)]

    async def answer(self, message: dict[str, Any]) -> Answer:
        if self.client is not None:
            return await self.client.post(message)
        assert self.session is not None
        return await self.session.post(self.a, [message] if self.wire == "batch" else message).whole()


@pytest.mark.parametrize("wire", ["handshake", "batch", "sse"])
@pytest.mark.parametrize("part", ["content", "meta", "error"])
async def test_an_answer_that_is_too_long_is_refused_and_a_shorter_one_is_taken(
    edge: Asking, wire: str, part: str
) -> None:
    way, long = Way(edge, wire), "y" * MAX_ANSWER_BYTES
    questions = await way.asked()
    said: dict[str, dict[str, Any]] = {
        "content": {"result": {"action": "accept", "content": {"name": long}}},
        "meta": {"result": {**accepted(1), "_meta": {"x": long}}},
        "error": {"error": {"code": 1, "message": "no", "data": long}},
    }
    refused = await way.answer({"jsonrpc": "2.0", "id": questions[0], **said[part]})
    kept = await edge.atomics.read("answer/")
    taken = [
        await way.answer({"jsonrpc": "2.0", "id": id, "result": accepted(MAX_ANSWER_BYTES - 1000)}) for id in questions
    ]

    assert (refused.status, refused.json["error"]["code"]) == (413, -32602)
    assert refused.json["error"]["message"] == "The answer to a question is over 256 KiB."
    assert kept == []
    assert [each.status for each in taken] == [202, 202]
    assert text((await way.stream.messages())[-1] if wire != "sse" else await way.stream.message()) == "accept accept"


async def test_on_2026_07_28_an_answer_that_is_too_long_is_refused_as_well(edge: Asking) -> None:
    a = edge.instance("A")
    first = (await a.modern("tools/call", {"name": "both", "arguments": {}}).whole()).json["result"]
    state = {"requestState": first["requestState"]}

    def again(size: int) -> Any:
        answers = {key: accepted(size) for key in first["inputRequests"]}
        return a.modern("tools/call", {"name": "both", "arguments": {}, "inputResponses": answers, **state}, id=2)

    refused = await again(MAX_ANSWER_BYTES).whole()
    taken = await again(MAX_ANSWER_BYTES - 1000).whole()

    assert (refused.status, refused.json["id"], refused.json["error"]["code"]) == (413, 2, -32602)
    assert text(taken.json) == "accept accept"
