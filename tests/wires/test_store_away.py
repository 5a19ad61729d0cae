"""The store cannot be reached: a clear 503, or an end that says when to come back; and all is well when it is back."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.asgi import Call
from tests.support.deployment import Deployment, notification, request, text

pytestmark = pytest.mark.anyio


async def test_a_request_that_needs_the_store_is_told_to_come_back(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    a.link.refused = True
    answers = [
        await session.call(a, "echo", {"text": "x"}).whole(),
        await session.get(a).whole(),
        await session.delete(a),
        await a.send("GET", "/sse", [("accept", "text/event-stream")]).whole(),
    ]
    a.link.mend()

    assert [answer.status for answer in answers] == [503] * 4
    assert {answer.headers["retry-after"] for answer in answers} == {"2"}
    assert "try again" in answers[0].json["error"]["message"]
    assert [answer.json["id"] for answer in answers] == [1, None, None, None]
    assert text((await session.call(a, "echo", {"text": "on"}).whole()).json) == "on"


async def test_a_session_that_cannot_be_stored_is_not_opened(edge: Deployment) -> None:
    a = edge.instance("A")
    await a.initialize()
    a.link.refused = True
    who = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
    answer = await a.post(request("initialize", who)).whole()

    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert "mcp-session-id" not in answer.headers


async def test_a_request_that_needs_no_store_is_served(edge: Deployment) -> None:
    a = edge.instance("A")
    await a.initialize()
    a.link.refused = True

    assert text((await a.modern("tools/call", {"name": "echo", "arguments": {"text": "on"}}).whole()).json) == "on"


async def test_an_instance_that_starts_while_the_store_is_away_serves_later(edge: Deployment) -> None:
    a = edge.instance("A")
    a.link.refused = True
    ready = await a.send("GET", "/readyz").whole()
    refused = await a.modern("tools/list").whole()
    a.link.mend()
    edge.clock.advance(1)  # for so long is the failure the answer

    assert (ready.status, refused.status) == (503, 503)
    assert (await a.modern("tools/list").whole()).status == 200
    assert (await a.send("GET", "/readyz").whole()).status == 200


@pytest.mark.parametrize("absence", ["long", "short"])
@pytest.mark.parametrize("kind", ["standalone", "resumed", "sse", "listen"])
async def test_a_held_stream_ends_in_good_order(edge: Deployment, kind: str, absence: str) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    if kind == "standalone":
        stream = session.get(a)
    elif kind == "sse":
        stream = a.send("GET", "/sse", [("accept", "text/event-stream")])
    elif kind == "listen":
        stream = a.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    else:
        call = session.call(a, "change", {"topic": "x"}, token="p")
        event = await call.event()
        assert event is not None
        stream = session.get(edge.instance("B"), event.id)
    await stream.event()
    for instance in edge.instances:
        instance.link.refused = absence == "long"
        instance.link.refuse_next = True
    await stream.rest()
    await stream.gone()

    assert stream.status == 200


@pytest.mark.parametrize("tool", ["look_up", "greet", "greet_now"])
async def test_a_call_under_way_outlives_a_short_absence(edge: Deployment, tool: str) -> None:
    a = edge.instance("A", lease_s=1)
    session = await a.initialize()
    call: Call = session.call(a, tool, {"topic": "x"} if tool == "look_up" else {}, token="p")
    seen = await call.message()
    assert seen is not None
    a.link.refused = True
    for _ in range(200):
        await asyncio.sleep(0.0005)
    a.link.mend()
    edge.recorder.gate("A").set()
    if "id" in seen:
        await session.answer(a, seen["id"], {"action": "accept", "content": {"name": "Ann"}})
    last = (await call.messages())[-1]

    assert "x by A" in json.dumps(last) or "Hello, Ann!" in json.dumps(last)


@pytest.mark.parametrize(
    ("method", "prefix", "part"), [("create", "stream/", b'f{"jsonrpc"'), ("get", "logged/", b"")], ids=["log", "count"]
)
async def test_a_call_that_is_done_is_answered_once_though_its_end_cannot_be_stored(
    edge: Deployment, method: str, prefix: str, part: bytes
) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    call = session.call(a, "change", {"topic": "x"}, token="p")
    await call.message()
    failed = a.fail_once(method, prefix, part)
    edge.recorder.gate("A").set()
    last = (await call.messages())[-1]
    await call.gone()
    stream = call.last_id.partition(".")[0]
    logged = [entry.value for entry in await edge.atomics.read(f"stream/{stream}/")]

    assert failed.is_set()
    assert text(last) == "x by A"
    assert [value for value in logged if b'"error"' in value] == []


async def test_a_cancelled_call_ends_though_its_end_cannot_be_logged(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    call = session.call(a, "change", {"topic": "y"}, token="p")
    await call.message()
    failed = a.fail_once("create", "stream/", b"x")
    await session.post(a, notification("notifications/cancelled", {"requestId": 1})).whole()
    await call.rest()
    await call.gone()

    assert failed.is_set()
    assert edge.recorder.ends == ["A:change:cancelled"]


async def test_a_heartbeat_whose_answer_was_lost_loses_no_call(edge: Deployment) -> None:
    a = edge.instance("A", lease_s=1)
    edge.clock.start()
    session = await a.initialize()
    call = session.call(a, "change", {"topic": "x"}, token="p")
    await call.message()
    await asyncio.wait_for(a.fail_once("swap", "stream/", done=True).wait(), 10)
    stream = f"stream/{call.last_id.partition('.')[0]}"
    before = await edge.atomics.get(stream)
    async with asyncio.timeout(10):
        while not call.ended and await edge.atomics.get(stream) == before:
            await asyncio.sleep(0)
    edge.recorder.gate("A").set()

    assert text((await call.messages())[-1]) == "x by A"


async def test_a_progress_message_that_cannot_be_logged_costs_neither_the_call_nor_its_heartbeat(
    edge: Deployment,
) -> None:
    a = edge.instance("A", lease_s=1)
    edge.clock.start()
    session = await a.initialize()
    call = session.call(a, "rush", {}, token="p")
    await call.message()
    await asyncio.wait_for(a.fail_once("create", "stream/", b'"progress":100').wait(), 10)
    await asyncio.wait_for(a.fail_once("swap", "stream/", done=True).wait(), 10)
    edge.recorder.gate("A").set()

    assert text((await call.messages())[-1]) == "rushed"


async def test_a_stream_that_cannot_be_logged_at_its_beginning_is_sent_all_the_same(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    failed = a.fail_once("create", "stream/")
    call = session.call(a, "count", {"to": 2}, token="p")
    messages = await call.messages()

    assert failed.is_set()
    assert call.last_id == ""
    assert text(messages[-1]) == "counted"
