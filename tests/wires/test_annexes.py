"""What a client sends with a call is stored once, counted before, and there again wherever the call goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mcp_edge.records.lease import NEVER
from mcp_edge.records.stream_head import Head
from tests.support.deployment import Deployment, Instance, text
from tests.wires.test_http_sse import STREAM, Client, lost
from tests.wires.test_questions import asked
from tests.wires.test_streams import LEASE_S, final

pytestmark = pytest.mark.anyio

LARGE = 300_000
LONGEST_ID = "i" * 8192
"""The longest that a request may have."""
PAD = {"unread": "y" * LARGE}
ANN: dict[str, Any] = {"action": "accept", "content": {"name": "Ann"}}


async def stored(edge: Deployment, *prefixes: str) -> int:
    """The bytes under those prefixes."""
    return sum([len(entry.value) for prefix in prefixes for entry in await edge.atomics.read(prefix, limit=10_000)])


def swapped(at: Instance, prefix: str) -> list[int]:
    """The sizes of what this instance writes over records with that prefix, as they come."""
    atomics: Any = at.platform.atomics
    swap, sizes = atomics.swap, list[int]()

    async def weighed(key: str, value: bytes, **named: Any) -> int | None:
        if key.startswith(prefix):
            sizes.append(len(value))
        return await swap(key, value, **named)

    atomics.swap = weighed
    return sizes


async def soon(reached: Any) -> None:
    """Wait for something that takes real time."""
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.01)


# -- heartbeats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["arguments", "meta", "id"])
async def test_a_running_call_writes_little_with_each_heartbeat(edge: Deployment, part: str) -> None:
    a = edge.instance("A", lease_s=1)
    edge.clock.start()
    session, beats = await a.initialize(), swapped(a, "stream/")
    params: dict[str, Any] = {"name": "look_up", "arguments": {"topic": "x"}, "_meta": {"progressToken": "p"}}
    params["arguments" if part == "arguments" else "_meta"] |= PAD if part != "id" else {}
    call = session.request(a, "tools/call", params, id=LONGEST_ID if part == "id" else 1)
    await call.message()
    await soon(lambda: len(beats) > 2)

    assert max(beats) < 2048
    size = len(LONGEST_ID) if part == "id" else LARGE
    assert size < await stored(edge, "annex/") < size + 1000
    edge.recorder.gate("A").set()
    assert text((await call.messages())[-1]) == "x by A"


async def test_a_call_that_waits_for_an_answer_writes_little_with_each_heartbeat(edge: Deployment) -> None:
    a, b = edge.pair(lease_s=1)
    edge.clock.start()
    session, beats = await a.initialize(), swapped(a, "stream/")
    call = session.call(a, "greet", PAD)
    question, _ = await asked(call)
    await soon(lambda: len(beats) > 3)
    await session.answer(b, question["id"], ANN)

    assert max(beats) < 4096
    assert text((await call.messages())[-1]) == "Hello, Ann!"


async def test_a_request_on_http_sse_writes_little_with_each_heartbeat(edge: Deployment) -> None:
    a, b = edge.pair(lease_s=1)
    edge.clock.start()
    client, beats = await Client(a, b).open(), swapped(a, "running/")
    await client.call("look_up", {"topic": "x", **PAD}, id=9)
    await soon(lambda: len(beats) > 2)
    edge.recorder.gate("A").set()

    assert max(beats) < 2048
    assert text(await client.stream.message()) == "x by A"
    await edge.until(lambda: not client.stream.ended)


async def test_a_small_call_has_no_annex(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    await session.call(a, "look_up", {"topic": "x"}, token="p").message()
    await asked(session.call(a, "greet"))
    client = await Client(a, a).open()
    await client.call("look_up", {"topic": "x"}, id=9)
    await edge.until(lambda: edge.recorder.runs.count("A:look_up") == 2)

    assert await stored(edge, "annex/") == 0


# -- the quota --------------------------------------------------------------------------------------------------------


async def test_calls_that_run_at_the_same_time_store_no_more_than_the_quota(edge: Deployment) -> None:
    a = edge.instance("A", max_log_bytes=4 * LARGE)
    session = await a.initialize()
    calls = [session.call(a, "look_up", {"topic": "x", **PAD}, id=n, token="p") for n in range(12)]
    for call in calls:
        await call.message()
    kept = await stored(edge, "stream/", "annex/")
    edge.recorder.gate("A").set()

    assert kept <= 5 * (LARGE + 2000)
    assert {text((await call.messages())[-1]) for call in calls} == {"x by A"}
    assert [call.last_id != "" for call in calls].count(True) <= 5


@pytest.mark.parametrize("streaming", [True, False])
async def test_calls_that_ask_beyond_the_quota_are_refused(edge: Deployment, streaming: bool) -> None:
    a = edge.instance("A", {"streaming": streaming}, max_log_bytes=4 * LARGE)
    session = await a.initialize()
    statuses: list[int] = []
    for n in range(6):
        call = await session.call(a, "greet", PAD, id=n).start()
        statuses.append(call.status)
        await call.disconnect()

    assert statuses == [200] * 3 + [429] * 3
    assert await stored(edge, "stream/", "annex/") <= 4 * LARGE


async def test_a_refused_call_stores_nothing_later_either(edge: Deployment) -> None:
    a = edge.instance("A", lease_s=1, max_log_bytes=LARGE)
    edge.clock.start()
    session, beats = await a.initialize(), swapped(a, "stream/")
    await session.call(a, "look_up", {"topic": "x", **PAD}, id=1, token="p").message()
    before = await stored(edge, "annex/")
    late = session.call(a, "look_up", {"topic": "x", **PAD}, id=2, token="p")
    await late.message()
    await soon(lambda: len(beats) > 1)

    assert await stored(edge, "annex/") == before
    edge.recorder.gate("A").set()
    assert text((await late.messages())[-1]) == "x by A"


# -- going on elsewhere -----------------------------------------------------------------------------------------------


async def test_a_call_is_run_again_elsewhere_with_all_its_arguments(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    topic = "t" * LARGE
    call = session.call(a, "look_up", {"topic": topic}, token="p")
    await call.message()
    a.link.cut()
    edge.clock.advance(LEASE_S + 1)
    edge.recorder.gate("B").set()

    assert final(await session.get(b, call.last_id).rest()) == f"{topic} by B"


async def test_a_suspended_call_goes_on_elsewhere_with_all_its_arguments(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet", PAD, id="i" * 2000)
    question, seen = await asked(call)
    await call.disconnect()
    await call.gone()
    resumed = session.get(b, seen)
    await session.answer(b, question["id"], ANN)
    answer = (await resumed.messages())[-1]

    assert (answer["id"], text(answer), edge.recorder.runs) == ("i" * 2000, "Hello, Ann!", ["B:greet"])


async def test_a_call_that_may_not_run_again_is_said_to_be_interrupted_under_its_id(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "change", {"topic": "x", **PAD}, id=LONGEST_ID, token="p")
    await call.message()
    a.link.cut()
    edge.clock.advance(LEASE_S + 1)
    answer = (await session.get(b, call.last_id).messages())[-1]

    assert (answer["id"], answer["error"]["data"]["interrupted"]) == (LONGEST_ID, True)


@pytest.mark.parametrize("dead", ["running", "before its annex"])
async def test_a_large_request_on_http_sse_is_run_again_elsewhere(edge: Deployment, dead: str) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    failed = a.fail_once("create", "annex/") if dead != "running" else None
    topic = "t" * LARGE
    await client.call("look_up", {"topic": topic}, id=9)
    if failed is None:
        await edge.until(lambda: bool(edge.recorder.runs))
    else:
        await asyncio.wait_for(failed.wait(), 10)
    a.link.cut()
    seen = await lost(client)
    edge.clock.advance(60)
    edge.recorder.gate("B").set()
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()

    assert text(await resumed.message()) == f"{topic} by B"


# -- releases ---------------------------------------------------------------------------------------------------------


async def test_a_head_that_the_release_before_wrote_is_taken_over_and_then_small(edge: Deployment) -> None:
    a, b = edge.pair(lease_s=1)
    edge.clock.start()
    session = await a.initialize()
    topic = "t" * LARGE
    call = session.call(a, "look_up", {"topic": "x"}, token="p")
    await call.message()
    a.link.cut()
    key = f"stream/{call.last_id.partition('.')[0]}"
    entry = await edge.atomics.get(key)
    assert entry is not None
    head = json.loads(entry.value)
    head["params"]["arguments"]["topic"] = topic
    await edge.atomics.swap(key, json.dumps(head).encode(), version=entry.version, nonce="before")
    edge.clock.advance(60)
    beats = swapped(b, "stream/")
    resumed = session.get(b, call.last_id)
    await soon(lambda: len(beats) > 2)
    edge.recorder.gate("B").set()

    assert final(await resumed.rest()) == f"{topic} by B"
    assert max(beats) < 2048
    spent = [int(entry.value) for entry in await edge.atomics.read("logged/")]
    assert sum(spent) > LARGE


async def test_a_note_that_the_release_before_wrote_is_taken_up_and_then_small(edge: Deployment) -> None:
    a, b = edge.pair(lease_s=1)
    edge.clock.start()
    client = await Client(a, b).open()
    topic = "t" * LARGE
    await client.call("look_up", {"topic": "x"}, id=9)
    await edge.until(lambda: bool(edge.recorder.runs))
    a.link.cut()
    seen = await lost(client)
    (entry,) = await edge.atomics.read("running/")
    note = json.loads(entry.value)
    note["message"]["params"]["arguments"]["topic"] = topic
    await edge.atomics.swap(entry.key, json.dumps(note).encode(), version=entry.version, nonce="before")
    edge.clock.advance(60)
    beats = swapped(b, "running/")
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()
    await soon(lambda: len(beats) > 2)
    edge.recorder.gate("B").set()

    assert text(await resumed.message()) == f"{topic} by B"
    assert max(beats) < 2048


async def test_the_release_before_takes_no_call_of_which_it_sees_a_part(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    call = session.call(a, "look_up", {"topic": "x", **PAD}, token="p")
    await call.message()
    client = await Client(a, a).open()
    await client.call("look_up", {"topic": "x", **PAD}, id=9)
    await edge.until(lambda: len(edge.recorder.runs) == 2)
    head = await edge.atomics.get(f"stream/{call.last_id.partition('.')[0]}")
    (note,) = await edge.atomics.read("running/")
    assert head is not None

    assert [json.loads(entry.value)["until"] for entry in (head, note)] == [NEVER, NEVER]
    assert Head.load(head.value).until <= edge.clock.now + LEASE_S
