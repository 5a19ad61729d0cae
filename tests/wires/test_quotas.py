"""Every stream that is held counts against its principal's quota, whatever it answers, and each counts once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mcp_edge.records.quotas import SLOT_S
from tests.support.asgi import Call, Event
from tests.support.deployment import Deployment, Instance, Session, notification, request, text
from tests.wires.test_http_sse import STREAM, Client

pytestmark = pytest.mark.anyio

TOPIC = {"topic": "x"}
EMPTY = Event()
TOLD = {"Too many calls at once (at most 2).", "Too many open calls (at most 2)."}
REFUSED = {"code": -32600, "message": "Too many open streams (at most 1)."}


class Caller:
    """A user's way of calling a tool that waits, on one revision."""

    def __init__(self, at: Instance, session: Session | None, key: str | None) -> None:
        self._at = at
        self._session = session
        self._key = key

    @classmethod
    async def of(cls, era: str, at: Instance, key: str | None = None) -> Caller:
        return cls(at, None if era == "modern" else await at.initialize(key=key), key)

    def call(self, tool: str = "change") -> Call:
        if self._session is not None:
            return self._session.call(self._at, tool, TOPIC, token="p")
        params: dict[str, Any] = {"name": tool, "arguments": TOPIC}
        return self._at.modern("tools/call", params, key=self._key, meta={"progressToken": "p"})


ERAS = pytest.mark.parametrize("era", ["modern", "handshake"])


async def held(edge: Deployment, count: int = 1, *, newer_than: int = 0) -> None:
    """Wait until so many streams count."""
    async with asyncio.timeout(10):
        while True:
            holds = await edge.atomics.read("hold/")
            if len(holds) == count and all(hold.version > newer_than for hold in holds):
                return
            await asyncio.sleep(0.001)


@ERAS
async def test_a_call_beyond_the_quota_is_stopped_and_told_why_and_a_freed_place_is_usable(
    edge: Deployment, era: str
) -> None:
    a = edge.instance("A", max_streams=1)
    caller = await Caller.of(era, a)
    first = caller.call()
    await held(edge)
    refused = (await caller.call().messages())[-1]
    edge.recorder.gate("A").set()
    answered = (await first.messages())[-1]
    await first.gone()
    last = caller.call()
    third = (await last.messages())[-1]
    await last.gone()

    assert refused["error"] == REFUSED
    assert edge.recorder.ends == ["A:change:cancelled", "A:change:done", "A:change:done"]
    assert [text(answered), text(third)] == ["x by A"] * 2
    assert [event.status for event in a.telemetry.events if event.method == "tools/call"] == ["-32600", "ok", "ok"]


@ERAS
async def test_what_one_user_holds_takes_nothing_from_another(edge: Deployment, era: str) -> None:
    a = edge.instance("A", auth="keys", max_streams=1)
    alice, bob = [(await Caller.of(era, a, key)).call() for key in ("alice-key", "bob-key")]
    await held(edge, 2)
    edge.recorder.gate("A").set()

    assert [text((await call.messages())[-1]) for call in (alice, bob)] == ["x by A"] * 2


@ERAS
async def test_a_call_keeps_its_place_for_as_long_as_it_is_held_and_then_gives_it_back(
    edge: Deployment, era: str
) -> None:
    a = edge.instance("A", max_streams=1)
    call = (await Caller.of(era, a)).call()
    await held(edge)
    for version in range(1, 4):
        edge.clock.advance(SLOT_S / 2)
        await held(edge, newer_than=version)
    edge.recorder.gate("A").set()
    await call.rest()
    await call.gone()

    assert await edge.atomics.read("hold/") == []


async def test_a_call_and_its_reader_at_another_instance_count_once(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    session = await a.initialize()
    call = session.call(a, "change", TOPIC, token="p")
    event = await call.event()
    await held(edge)
    await call.disconnect()
    assert event is not None
    resumed = session.get(b, event.id)
    edge.recorder.gate("A").set()

    assert text((await resumed.messages())[-1]) == "x by A"


async def test_a_call_that_was_taken_over_keeps_its_place(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    session = await a.initialize()
    call = session.call(a, "look_up", TOPIC, token="p")
    event = await call.event()
    await held(edge)
    a.link.cut()
    edge.clock.advance(7)
    assert event is not None
    resumed = session.get(b, event.id)
    await edge.until(lambda: edge.recorder.runs == ["A:look_up", "B:look_up"])
    for version in range(2, 4):
        edge.clock.advance(SLOT_S / 2)
        await held(edge, newer_than=version)
    edge.recorder.gate("B").set()

    assert text((await resumed.messages())[-1]) == "x by B"


@pytest.mark.parametrize("most", [1, 2, 15])
async def test_each_call_of_a_batch_counts(edge: Deployment, most: int) -> None:
    a = edge.instance("A", max_streams=most, quiet_s=0.001)
    session = await a.initialize("2025-03-26")
    calls = [request("tools/call", {"name": "change", "arguments": TOPIC}, id=n) for n in range(64)]
    batch = session.post(a, calls)
    await held(edge, most)
    await edge.until(lambda: len(edge.recorder.ends) == 64 - most)
    edge.recorder.gate("A").set()
    answer = await batch.whole()
    messages: list[Any] = json.loads(answer.body)

    assert [message["id"] for message in messages] == list(range(64))
    assert [text(message) for message in messages if "result" in message] == ["x by A"] * most
    told = {"code": -32600, "message": f"Too many open streams (at most {most})."}
    assert [message["error"] for message in messages if "error" in message] == [told] * (64 - most)
    assert ("retry-after" in answer.headers) == (most < 64)
    assert await edge.atomics.read("hold/") == []


async def test_sixteen_calls_of_a_batch_run_at_a_time_and_all_are_answered(edge: Deployment) -> None:
    a = edge.instance("A", max_streams=64, quiet_s=0.001)
    session = await a.initialize("2025-03-26")
    calls = [request("tools/call", {"name": "change", "arguments": TOPIC}, id=n) for n in range(64)]
    batch = session.post(a, calls)
    await held(edge, 16)
    under_way = len(edge.recorder.runs)
    edge.recorder.gate("A").set()

    assert under_way == 16
    assert [text(message) for message in json.loads((await batch.whole()).body)] == ["x by A"] * 64
    assert await edge.atomics.read("hold/") == []


async def test_a_batch_of_quick_calls_costs_no_place_however_long_it_is(edge: Deployment) -> None:
    a = edge.instance("A", max_streams=1)
    session = await a.initialize("2025-03-26")
    calls = [request("tools/call", {"name": "echo", "arguments": {"text": "x"}}, id=n) for n in range(64)]
    answer = await session.post(a, calls).whole()

    assert [text(message) for message in json.loads(answer.body)] == ["x"] * 64


async def resumed_often(session: Session, at: list[Instance], event_id: str, times: int) -> list[Call]:
    """So many resumptions of one stream, each before the last has ended."""
    return [await session.get(at[n % len(at)], event_id).start() for n in range(times)]


async def test_resumptions_of_one_call_have_one_place_and_one_connection_the_newest(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=2, lease_s=6)
    edge.clock.start()
    session = await a.initialize()
    call = session.call(a, "change", TOPIC, token="p")
    event = await call.event()
    assert event is not None
    assert event.id is not None
    await held(edge)
    readers = await resumed_often(session, [a, b], event.id, 300)
    await edge.until(lambda: all(each.ended for each in (call, *readers[:-1])))
    places = await edge.atomics.read("hold/")
    ends = [(await reader.rest())[-1] for reader in readers[:-1]]
    edge.recorder.gate("A").set()
    newest = [text(message) for message in await readers[-1].messages() if "result" in message]
    back = [text(message) for message in await session.get(b, ends[0].id).messages() if "result" in message]

    assert len(places) == 1
    assert {(end.retry_ms, end.data) for end in ends} == {(500, "")}
    assert (newest, back) == (["x by A"], ["x by A"])
    assert edge.recorder.runs == ["A:change"]


@ERAS
async def test_a_call_that_cannot_be_counted_goes_on(edge: Deployment, era: str) -> None:
    a = edge.instance("A", max_streams=1)
    caller = await Caller.of(era, a)
    failed = a.fail_once("create", "hold/")
    call = caller.call()
    await failed.wait()
    await held(edge)
    edge.recorder.gate("A").set()

    assert text((await call.messages())[-1]) == "x by A"


async def test_a_call_where_responses_are_buffered_is_refused_with_a_status(edge: Deployment) -> None:
    a = edge.instance("A", {"streaming": False}, max_streams=1, quiet_s=0.001)
    first = a.modern("tools/call", {"name": "change", "arguments": TOPIC})
    await held(edge)
    refused = await a.modern("tools/call", {"name": "change", "arguments": TOPIC}).whole()
    edge.recorder.gate("A").set()

    assert (refused.status, refused.headers["retry-after"], refused.json["error"]) == (429, "5", REFUSED)
    assert text((await first.whole()).json) == "x by A"


async def test_a_reader_that_leaves_takes_no_place_from_the_call_that_it_read(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    session = await a.initialize()
    call = session.call(a, "change", TOPIC, token="p")
    event = await call.event()
    assert event is not None
    await held(edge)
    reader = await session.get(b, event.id).start()
    await reader.disconnect()
    await reader.gone()
    refused = (await session.call(b, "change", TOPIC, id=2, token="p").messages())[-1]
    edge.recorder.gate("A").set()
    answered = text((await call.messages())[-1])
    await call.gone()

    assert (refused["error"], answered) == (REFUSED, "x by A")
    assert await edge.atomics.read("hold/") == []


async def test_a_stream_of_http_sse_that_is_resumed_has_one_place_however_often(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    client = await Client(a, b).open()
    last = client.stream.last_id
    streams = [client.stream]
    for n in range(100):
        streams.append(await [b, a][n % 2].send("GET", "/sse", [*STREAM, ("last-event-id", last)]).start())
    await edge.until(lambda: all(stream.ended for stream in streams[:-1]))
    await client.call("echo", {"text": "to the newest"}, id=2)

    assert [stream.status for stream in streams] == [200] * 101
    assert (await streams[-1].event() or EMPTY).kind == "endpoint"
    assert text(await streams[-1].message()) == "to the newest"
    assert len(await edge.atomics.read("hold/")) == 1


async def test_calls_of_http_sse_count_on_whichever_stream_they_were_begun(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=2)
    client = await Client(a, b).open()
    for n in range(2):
        await client.call("change", TOPIC, id=n)
    await held(edge, 3)  # the stream's, too
    newer = await b.send("GET", "/sse", [*STREAM, ("last-event-id", client.stream.last_id)]).start()
    await newer.event()
    for n in range(2, 5):
        await client.call("change", TOPIC, id=n)
    refused = [await newer.message() for _ in range(3)]
    other = await Client(a, b).open()
    await other.call("change", TOPIC, id=5)
    refused.append(await other.stream.message())
    edge.recorder.gate("A").set()
    answers = [await newer.message() for _ in range(2)]
    await held(edge, 2)
    await client.call("echo", {"text": "after"}, id=6)

    assert sorted(message["id"] for message in refused) == [2, 3, 4, 5]
    assert {message["error"]["message"] for message in refused} <= TOLD
    assert sorted(message["id"] for message in answers) == [0, 1]
    assert text(await newer.message()) == "after"


@pytest.mark.parametrize("wire", ["handshake", "batch", "http+sse"])
async def test_cancellations_are_written_once_and_bounded_and_a_call_that_runs_is_cancelled(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    monkeypatch.setattr("mcp_edge.records.cancellations.MOST_PER_WINDOW", 8, raising=False)
    a, b = edge.pair(max_streams=4)
    if wire == "http+sse":
        client = await Client(a, b).open()
        await client.call("change", TOPIC, id="running")
        post = client.post
    else:
        session = await a.initialize("2025-03-26")
        session.call(a, "change", TOPIC, id="running", token="p")

        async def post(message: Any) -> Any:
            return await session.post(b, [message] if wire == "batch" else message).whole()

    await edge.until(lambda: edge.recorder.runs == ["A:change"])
    cancelled: list[Any] = [notification("notifications/cancelled", {"requestId": n}) for n in ("running", *range(9))]
    statuses = [(await post(cancelled[0])).status for _ in range(50)]
    (written,) = await edge.atomics.read("cancel/")
    await edge.until(lambda: edge.recorder.ends == ["A:change:cancelled"])
    statuses += [(await post(message)).status for message in cancelled[1:]]

    assert statuses == [*[202] * 57, 429, 429]
    assert len(await edge.atomics.read("cancel/")) == 8
    assert (await edge.atomics.get(written.key)) == written
