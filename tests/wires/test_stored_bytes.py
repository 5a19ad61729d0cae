"""What a caller posts is counted before it is stored, on every wire, and so is what is kept of a call that waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.asgi import Answer, Call
from tests.support.awaiting import Awaiting
from tests.support.deployment import Deployment, Instance, notification, request, text
from tests.wires.test_http_sse import STREAM, Client
from tests.wires.test_questions import asked

pytestmark = pytest.mark.anyio

MOST = 1024 * 1024
USED_UP = "The streams of this hour hold too many bytes."
ANN: dict[str, Any] = {"action": "accept", "content": {"name": "Ann"}}


@pytest.fixture
def edge(edge: Deployment) -> Deployment:
    """At the beginning of an hour."""
    edge.clock.now -= edge.clock.now % 3600
    return edge


async def stored(edge: Deployment, *prefixes: str) -> int:
    """The bytes under those prefixes."""
    return sum([len(entry.value) for prefix in prefixes for entry in await edge.atomics.read(prefix, limit=10_000)])


def big(size: int, id: object = 1) -> dict[str, Any]:
    """A request of about so many bytes."""
    return request("ping", {"x": "y" * size}, id=id)


async def dropped(edge: Deployment, a: Instance) -> Client:
    """A stream that was opened and dropped."""
    client = Client(a, a)
    opened = await client.stream.event()
    assert opened is not None
    client.path = opened.data
    await client.stream.disconnect()
    await client.stream.gone()
    return client


# -- inboxes ----------------------------------------------------------------------------------------------------------


async def test_streams_that_were_opened_and_dropped_have_no_room_of_their_own(edge: Deployment) -> None:
    a = edge.instance("A", max_streams=2, max_log_bytes=MOST)
    clients = [await dropped(edge, a) for _ in range(10)]
    answers = [await client.post(big(size)) for client in clients for size in (300_000, 40_000, 40_000)]

    assert await stored(edge, "inbox/") < 10 * 64 * 1024
    assert {answer.status for answer in answers} == {202, 429}


async def test_what_is_posted_in_an_hour_is_bounded_over_all_streams(edge: Deployment) -> None:
    a, b = edge.pair(max_log_bytes=MOST)
    clients = [await Client(a, b).open() for _ in range(4)]
    a.link.cut()  # nobody takes anything
    answers = [await client.post(big(200_000)) for client in clients for _ in range(3)]
    edge.clock.advance(3600)
    a.link.mend()

    assert await stored(edge, "inbox/") <= MOST
    assert [answer.status for answer in answers].count(202) == 5
    assert (answers[-1].json["error"]["message"], answers[-1].headers["retry-after"]) == (USED_UP, "60")


@pytest.mark.parametrize("size", [1000, 100_000])
async def test_messages_that_are_posted_at_the_same_time_are_all_counted(edge: Deployment, size: int) -> None:
    a, b = edge.pair(max_log_bytes=MOST, max_body_bytes=200_000)
    client = await Client(a, b).open()
    a.link.cut()
    far: Any = b.platform.atomics
    far.store = Awaiting(edge.atomics)
    statuses = [answer.status for answer in await asyncio.gather(*(client.post(big(size, n)) for n in range(40)))]
    a.link.mend()

    assert await stored(edge, "inbox/") <= min(40 * (size + 200), 5 * 200_000)
    assert set(statuses) <= {202, 429}
    assert 202 in statuses


async def test_a_client_that_is_coming_back_may_post_a_little_and_then_nothing(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    seen = client.stream.last_id
    await client.stream.disconnect()
    await client.stream.gone()
    while_away = [(await client.post(request("ping", id=n))).status for n in range(10)]
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()
    answered = {(await resumed.message())["id"] for _ in range(8)}
    await client.call("echo", {"text": "again"}, id="again")

    assert while_away == [202] * 8 + [429] * 2
    assert answered == set(range(8))
    assert text(await resumed.message()) == "again"


@pytest.mark.parametrize("end", ["left", "died"])
async def test_nothing_is_taken_for_a_stream_that_was_lost_long_ago_until_its_client_is_back(
    edge: Deployment, end: str
) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    seen = client.stream.last_id
    if end == "died":
        a.link.cut()
    else:
        await client.stream.disconnect()
        await client.stream.gone()
    edge.clock.advance(121)
    late = await client.post(request("ping", id=1))
    answer = await client.post({"jsonrpc": "2.0", "id": "question", "result": {}})
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()

    assert (late.status, late.json["error"]["code"], answer.status) == (404, -32001, 404)
    assert (await client.post(request("ping", id=2))).status == 202
    assert (await resumed.message())["id"] == 2


async def test_a_stream_that_is_held_takes_messages_for_as_long_as_it_is(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    for n in range(6):
        edge.clock.advance(40)
        await edge.until(lambda: a.platform.clock() == edge.clock.now)
        await client.call("echo", {"text": "x"}, id=n)
        assert (await client.stream.message())["id"] == n
        for _ in range(3):  # until it has looked after the rest, too
            await client.call("echo", {"text": "x"}, id=n)
            await client.stream.message()


async def test_opening_streams_counts_as_well(edge: Deployment) -> None:
    a = edge.instance("A", max_log_bytes=65536)
    statuses: list[int] = []
    for _ in range(140):
        call = await a.send("GET", "/sse", STREAM).start()
        statuses.append(call.status)
        await call.disconnect()
        await call.gone()

    assert statuses == [200] * 128 + [429] * 12
    assert len(await edge.records.list("door/", limit=1000)) <= 128


# -- answers ----------------------------------------------------------------------------------------------------------


class Way:
    """How a client answers questions on one wire."""

    def __init__(self, wire: str, edge: Deployment) -> None:
        self.wire = wire
        self.a, self.b = edge.pair(max_log_bytes=MOST)

    async def question(self) -> tuple[Call, Any]:
        """Have a question asked; the stream, and the question's id."""
        if self.wire == "sse":
            client = await Client(self.a, self.b).open(elicitation={})
            self.post = client.post
            await client.call("greet")
            return client.stream, (await client.stream.message())["id"]
        session = await self.a.initialize("2025-03-26")

        async def post(message: Any) -> Answer:
            return await session.post(self.b, [message] if self.wire == "batch" else message).whole()

        self.post = post
        call = session.call(self.a, "greet")
        return call, (await asked(call))[0]["id"]


@pytest.mark.parametrize("wire", ["handshake", "batch", "sse"])
async def test_answers_to_questions_are_bounded_in_sum_and_a_small_one_is_taken(edge: Deployment, wire: str) -> None:
    way = Way(wire, edge)
    statuses: list[int] = []
    call, question = await way.question()
    for _ in range(6):
        call, question = await way.question()
        answer = {"jsonrpc": "2.0", "id": question, "result": {**ANN, "_meta": {"x": "y" * 250_000}}}
        statuses.append((await way.post(answer)).status)
    small = await way.post({"jsonrpc": "2.0", "id": question, "result": ANN})

    assert statuses == [202] * 4 + [429] * 2
    assert small.status == 202
    message = await call.message()
    while "result" not in message:
        message = await call.message()
    assert text(message) == "Hello, Ann!"


# -- calls that wait --------------------------------------------------------------------------------------------------


async def test_calls_that_wait_for_an_answer_are_bounded_by_what_they_bring_along(edge: Deployment) -> None:
    a, b = edge.pair(max_log_bytes=MOST)
    session = await a.initialize()
    for _ in range(3):
        call = session.call(a, "greet", {"unread": "y" * 300_000})
        assert (await asked(call))[0]["method"] == "elicitation/create"
        await call.disconnect()
        await call.gone()
    refused = [await session.call(a, "greet", {"unread": "y" * 300_000}).whole() for _ in range(3)]
    small = session.call(a, "greet")
    question, _ = await asked(small)
    await session.answer(b, question["id"], ANN)

    assert await stored(edge, "stream/") <= MOST + 100_000
    assert {(answer.status, answer.json["error"]["message"]) for answer in refused} == {(429, USED_UP)}
    assert text((await small.messages())[-1]) == "Hello, Ann!"


async def test_calls_that_begin_their_streams_at_the_same_time_are_all_counted(edge: Deployment) -> None:
    a = edge.instance("A", max_log_bytes=MOST)
    session = await a.initialize()
    far: Any = a.platform.atomics
    far.store = Awaiting(edge.atomics)
    calls = [session.call(a, "look_up", {"topic": "x", "unread": "y" * 300_000}, id=n, token="p") for n in range(20)]
    for call in calls:
        await call.message()
    kept = await stored(edge, "stream/")
    edge.recorder.gate("A").set()

    assert kept < MOST + 2 * 300_000
    assert {text((await call.messages())[-1]) for call in calls} == {"x by A"}


async def test_subscriptions_of_many_sessions_are_bounded_in_sum(edge: Deployment) -> None:
    a = edge.instance("A", max_log_bytes=65536)
    statuses: list[Any] = []
    sessions = [await a.initialize() for _ in range(5)]
    for session in sessions:
        for n in range(10):
            answer = await session.request(a, "resources/subscribe", {"uri": f"note://{n}/" + "x" * 2000}).whole()
            statuses.append(answer.json.get("error", {}).get("message", ""))
    one_more = await sessions[0].request(a, "resources/subscribe", {"uri": "note://fixed"}).whole()

    assert statuses.count("") == 32
    assert statuses[-1] == USED_UP
    assert "result" in one_more.json
    assert (await sessions[0].post(a, notification("notifications/cancelled", {"requestId": 1})).whole()).status == 202
