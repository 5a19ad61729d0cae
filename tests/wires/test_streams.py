"""A call's stream on the handshake revisions: logged, replayed and taken over on any instance."""

from __future__ import annotations

import asyncio
import json

import pytest

from mcp_edge.protocol import sse
from tests.support.asgi import Call, Event
from tests.support.deployment import HANDSHAKE, Deployment, Instance, Session, notification, request, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

LEASE_S = 6


async def begun(edge: Deployment, session: Session, at: Instance, tool: str, topic: str = "x") -> tuple[Call, str]:
    """A call whose tool waits; its stream has begun. The event id of what was seen last."""
    runs = len(edge.recorder.runs)
    call = session.call(at, tool, {"topic": topic}, token="p")
    seen = ""
    while True:
        event = await call.event()
        assert event is not None
        seen = event.id or seen
        if event.data:
            assert '"notifications/progress"' in event.data
            assert len(edge.recorder.runs) == runs + 1
            return call, seen


async def looked_after(edge: Deployment, seen: str) -> None:
    """Wait until the instance that runs the call of the stream has looked after it, or the call has ended."""
    key = f"stream/{seen.partition('.')[0]}"
    before = await edge.atomics.get(key)
    edge.clock.advance(LEASE_S / 2)
    async with asyncio.timeout(5):
        while not edge.recorder.ends and await edge.atomics.get(key) == before:
            await asyncio.sleep(0.001)


def final(events: list[Event]) -> str:
    """The text of the final result among the events, which is the last one."""
    assert [('"result"' in event.data) for event in events][-1:] == [True], events
    assert sum('"result"' in event.data or '"error"' in event.data for event in events) == 1
    return text(json.loads(events[-1].data))


@clause("handshake.priming", "handshake.event-ids")
@pytest.mark.parametrize("version", HANDSHAKE)
async def test_a_stream_begins_with_an_event_id_where_clients_know_what_it_is(edge: Deployment, version: str) -> None:
    a = edge.instance("A")
    events = await (await a.initialize(version)).call(a, "count", {"to": 2}, token="p").rest()
    first = events[0]

    if version == "2025-11-25":
        assert (first.data, first.retry_ms, len(events)) == ("", 500, 4)
    else:
        assert (bool(first.data), len(events)) == (True, 3)
    assert len({event.id for event in events}) == len(events)
    assert len({(event.id or "").partition(".")[0] for event in events}) == 1


async def test_a_silent_call_becomes_a_stream_after_the_quiet_period(edge: Deployment) -> None:
    a = edge.instance("A", quiet_s=0.01)
    session = await a.initialize()
    call = await session.call(a, "look_up", {"topic": "x"}).start()
    edge.recorder.gate("A").set()

    assert call.headers["content-type"] == "text/event-stream"
    assert final(await call.rest()) == "x by A"


async def test_a_client_that_prefers_a_stream_gets_one(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    message = request("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    call = await session.post(a, message, accept="text/event-stream, application/json").start()

    assert final(await call.rest()) == "x"


async def test_a_silent_stream_is_kept_alive(edge: Deployment) -> None:
    edge.clock.start()
    a = edge.instance("A", keepalive_s=0.001)
    call, _ = await begun(edge, await a.initialize(), a, "look_up")
    event = await call.event(comments=True)

    assert event is not None
    assert event.comment == "keep-alive"


@clause("handshake.disconnect", "handshake.replay", "handshake.event-ids")
async def test_a_client_that_left_resumes_on_the_other_instance_while_the_first_runs_on(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "change")
    await call.disconnect()
    for _ in range(2):  # A may be in the middle of the first look
        await looked_after(edge, seen)
    resumed = await session.get(b, seen).start()
    edge.recorder.gate("A").set()

    assert final(await resumed.rest()) == "x by A"
    await call.gone()
    assert edge.recorder.ends == ["A:change:done"]


@clause("handshake.replay", "handshake.one-stream")
async def test_a_resumed_stream_replays_what_followed_on_that_stream_only(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    one = await session.call(a, "count", {"to": 4}, id=1, token="one").rest()
    two = await session.call(a, "count", {"to": 4}, id=2, token="two").rest()

    assert await session.get(b, one[2].id).rest() == one[3:]
    assert await session.get(b, two[0].id).rest() == two[1:]
    assert {event.id for event in one}.isdisjoint({event.id for event in two})


@clause("handshake.get")
async def test_a_stream_that_was_read_to_its_end_is_not_opened_again(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    events = await session.call(a, "count", {"to": 1}, token="p").rest()
    answer = await session.get(a, events[-1].id).whole()

    assert (answer.status, answer.headers["allow"]) == (405, "POST, DELETE")


@pytest.mark.parametrize(
    "id",
    [
        "x",
        "1",
        "-1",
        "." * 9,
        "c.1",
        "c.1.x",
        "c.-1.1",
        "c.1.1.1",
        "0" * 32,
        "0" * 32 + ".",
        "0" * 32 + ".-1",
        "0" * 32 + ".1",
        "0" * 32 + ".9" * 9,
        "0" * 32 + ".999999999",
        "\xff",
        "/" * 40 + ".1",
        "é" * 32 + ".1",
        "x" * 10_000,
        "0" * 32 + ".\xb2",
    ],
)
async def test_an_event_id_that_is_not_ours_is_refused(edge: Deployment, id: str) -> None:
    a = edge.instance("A")
    answer = await (await a.initialize()).get(a, id).whole()

    assert answer.status == 400
    assert "Last-Event-ID" in answer.json["error"]["message"]


@clause("handshake.replay")
async def test_an_event_id_of_another_session_is_unknown(edge: Deployment) -> None:
    a = edge.instance("A", auth="keys")
    alice, again, bob = [await a.initialize(key=key) for key in ("alice-key", "alice-key", "bob-key")]
    events = await alice.call(a, "count", {"to": 2}, token="p").rest()
    answers = [await session.get(a, events[0].id).whole() for session in (again, bob)]

    assert [answer.status for answer in answers] == [400, 400]
    assert b"counted" not in answers[0].body + answers[1].body


@clause("handshake.replay")
async def test_an_event_that_was_never_sent_is_unknown_and_nothing_runs_for_it(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "look_up")
    stream, _, number = seen.partition(".")
    forged = [f"{stream}.{int(number) + 1}", f"{stream}.99999999"]
    early = [await session.get(b, id).whole() for id in forged]
    edge.recorder.gate("A").set()
    await call.rest()
    edge.clock.advance(LEASE_S + 1)
    late = await session.get(b, forged[1]).whole()

    assert [answer.status for answer in (*early, late)] == [400] * 3
    assert "no such event" in late.json["error"]["message"]
    assert edge.recorder.runs == ["A:look_up"]
    assert final(await session.get(b, seen).rest()) == "x by A"


async def test_an_event_that_has_expired_is_resumed_from(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    _, seen = await begun(edge, session, a, "change")
    stream, _, number = seen.partition(".")
    await edge.atomics.delete(f"stream/{stream}/{int(number):08d}")
    resumed = session.get(b, seen)
    edge.recorder.gate("A").set()

    assert final(await resumed.rest()) == "x by A"


# -- takeover ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["look_up", "put"])
async def test_a_call_whose_instance_died_is_run_again_where_that_does_no_harm(edge: Deployment, tool: str) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, tool)
    a.link.cut()
    await call.disconnect()
    edge.clock.advance(LEASE_S + 1)
    resumed = session.get(b, seen)
    edge.recorder.gate("B").set()

    assert final(await resumed.rest()) == "x by B"
    assert edge.recorder.runs == [f"A:{tool}", f"B:{tool}"]


async def test_any_other_call_whose_instance_died_gets_one_final_error(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "change")
    a.link.cut()
    await call.disconnect()
    edge.clock.advance(LEASE_S + 1)
    messages = await session.get(b, seen).messages()

    assert [m["id"] for m in messages] == [1]
    assert messages[0]["error"]["data"] == {"interrupted": True, "method": "tools/call"}
    assert edge.recorder.runs == ["A:change"]
    await edge.until(lambda: [event.status for event in b.telemetry.events][-1:] == ["interrupted"])


@pytest.mark.parametrize(
    ("tool", "kept"),
    [("change", {"name": "change"}), ("look_up", {"name": "look_up", "arguments": {"topic": "x"}})],
)
async def test_the_arguments_of_a_call_are_stored_only_where_it_may_be_run_again(
    edge: Deployment, tool: str, kept: dict[str, object]
) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    _, seen = await begun(edge, session, a, tool)
    head = await edge.atomics.get(f"stream/{seen.partition('.')[0]}")

    assert head is not None
    params = json.loads(head.value)["params"]
    params.pop("_meta", None)
    assert params == kept


async def test_nobody_takes_over_while_the_lease_holds(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    _, seen = await begun(edge, session, a, "look_up")
    a.link.cut()
    edge.clock.advance(LEASE_S - 1)
    resumed = await session.get(b, seen).start()
    reads = resumed.reads
    for _ in range(200):
        await asyncio.sleep(0)

    assert edge.recorder.runs == ["A:look_up"]
    assert (resumed.ended, resumed.reads) == (False, reads)


async def test_a_slow_owner_without_the_lease_appends_nothing_more(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "look_up")
    a.link.cut()
    edge.recorder.gate("A").set()  # A is done, and cannot say so
    edge.clock.advance(LEASE_S + 1)
    resumed = session.get(b, seen)
    await edge.until(lambda: "B:look_up" in edge.recorder.runs)
    a.link.mend()
    old = await call.rest()
    edge.recorder.gate("B").set()
    events = await resumed.rest()
    replayed = await session.get(a, seen).rest()

    assert ['"result"' in event.data for event in old] == [False] * len(old)
    assert final(events) == "x by B"
    assert replayed == events


async def test_the_lease_of_a_living_call_is_renewed(edge: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = edge.pair(lease_s=1)
    session = await a.initialize()
    _, seen = await begun(edge, session, a, "look_up")
    beats: list[int] = []
    for _ in range(2):
        edge.clock.advance(0.9)
        entry = await edge.atomics.get(f"stream/{seen.partition('.')[0]}")
        assert entry is not None
        beats.append(entry.version)
        async with asyncio.timeout(5):
            while (entry := await edge.atomics.get(f"stream/{seen.partition('.')[0]}")) and entry.version == beats[-1]:
                await asyncio.sleep(0.01)
    resumed = session.get(b, seen)
    await resumed.start()
    edge.recorder.gate("A").set()

    assert final(await resumed.rest()) == "x by A"
    assert edge.recorder.runs == ["A:look_up"]


async def test_several_readers_of_a_dead_call_run_it_once_and_who_gave_way_comes_back_for_the_answer(
    edge: Deployment,
) -> None:
    a, b = edge.pair()
    c = edge.instance("C")
    session = await a.initialize()
    _, seen = await begun(edge, session, a, "look_up")
    a.link.cut()
    edge.clock.advance(LEASE_S + 1)
    readers = [session.get(at, seen) for at in (b, c, b)]
    await edge.until(lambda: len(edge.recorder.runs) == 2)
    for name in "BC":
        edge.recorder.gate(name).set()
    ends = [await reader.rest() for reader in readers]
    back = [await session.get(b, events[-1].id).rest() for events in ends if '"result"' not in events[-1].data]
    answers = {final(events) for events in (*ends, *back) if '"result"' in events[-1].data}

    assert len(back) < 3
    assert [('"result"' in events[-1].data) for events in back] == [True] * len(back)
    assert len(edge.recorder.runs) == 2
    assert len(answers) == 1


async def test_nothing_follows_the_final_response(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    events = await session.call(a, "count", {"to": 50}, token="p").rest()
    stream = (events[0].id or "").partition(".")[0]
    edge.clock.advance(LEASE_S * 10)
    replayed = await session.get(b, events[0].id).rest()
    log = await edge.atomics.read(f"stream/{stream}/", limit=1000)

    assert final(replayed) == "counted"
    assert [entry.value[:1] for entry in log].index(b"f") == len(log) - 1


async def test_a_thousand_progress_reports_are_coalesced_and_the_last_one_is_kept(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    messages = await session.call(a, "count", {"to": 1000}, token="p").messages()
    told = [m["params"]["progress"] for m in messages[:-1]]

    assert told == sorted(set(told))
    assert len(told) < 500
    assert told[-1] == 1000


# -- closing and stalling ----------------------------------------------------------------------------------------------


@clause("handshake.retry")
async def test_a_stream_that_a_tool_closes_early_says_when_to_come_back(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "leave_early")
    events = await call.rest()
    resumed = await session.get(b, events[-1].id).start()
    edge.recorder.gate("A").set()

    assert (events[-1].retry_ms, events[-1].data) == (500, "")
    assert final(await resumed.rest()) == "late"


@clause("handshake.retry")
async def test_a_drain_closes_a_running_stream_and_the_call_ends_in_the_log(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "change")
    a.drain.draining = True
    events = await call.rest()
    resumed = await session.get(b, seen).start()
    edge.recorder.gate("A").set()

    assert events[-1].retry_ms == 500
    assert final(await resumed.rest()) == "x by A"


async def test_a_reader_that_stalls_is_detached_and_can_resume(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "STALL_S", 0.01)
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "change")
    call.stall()
    edge.recorder.gate("A").set()
    await call.gone()

    assert final(await session.get(b, seen).rest()) == "x by A"
    assert edge.recorder.ends == ["A:change:done"]


async def test_a_resumed_stream_ends_with_retry_when_its_budget_is_used_up(edge: Deployment) -> None:
    a, b = edge.instance("A"), edge.instance("B", {"stream_budget_s": 5})
    session = await a.initialize()
    _, seen = await begun(edge, session, a, "change")
    resumed = await session.get(b, seen).start()
    edge.clock.advance(5.5)
    events = await resumed.rest()
    again = await session.get(a, events[-1].id).start()
    edge.recorder.gate("A").set()

    assert (events[-1].id, events[-1].retry_ms, events[-1].data) == (seen, 500, "")
    assert final(await again.rest()) == "x by A"


async def test_over_the_byte_quota_calls_are_answered_without_a_log(edge: Deployment) -> None:
    a = edge.instance("A", max_log_bytes=65536)
    session = await a.initialize()
    message = request("tools/call", {"name": "echo", "arguments": {"text": "x" * 70_000}})
    first, second = [
        await session.post(a, message, accept="text/event-stream, application/json").rest() for _ in range(2)
    ]

    assert first[-1].id is not None
    assert [event.id for event in second] == [None]
    assert final(first) == final(second)


# -- cancelling --------------------------------------------------------------------------------------------------------


def cancel(session: Session, at: Instance, id: object = 1) -> Call:
    return session.post(at, notification("notifications/cancelled", {"requestId": id}))


@clause("handshake.cancelled")
async def test_a_cancellation_that_reaches_another_instance_stops_the_call(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "change")
    assert (await cancel(session, b).whole()).status == 202

    assert [event.data for event in await call.rest() if event.data] == []
    assert edge.recorder.ends == ["A:change:cancelled"]
    assert await session.get(b, seen).messages() == []


@clause("handshake.cancelled")
async def test_a_cancellation_that_comes_first_still_counts(edge: Deployment) -> None:
    a, b = edge.pair(quiet_s=0.01)
    session = await a.initialize()
    await cancel(session, b).whole()
    call = session.call(a, "change", {"topic": "x"})
    await call.rest()

    assert edge.recorder.ends == ["A:change:cancelled"]


async def test_an_old_cancellation_was_meant_for_another_request(edge: Deployment) -> None:
    a = edge.instance("A", quiet_s=0.01)
    session = await a.initialize()
    await cancel(session, a).whole()
    edge.clock.advance(30)
    call = await session.call(a, "change", {"topic": "x"}).start()
    edge.recorder.gate("A").set()

    assert final(await call.rest()) == "x by A"


@pytest.mark.parametrize("id", ["1", 2, "nobody"])
async def test_a_cancellation_of_another_request_changes_nothing(edge: Deployment, id: object) -> None:
    a = edge.instance("A")
    session, other = await a.initialize(), await a.initialize()
    call, _ = await begun(edge, session, a, "change")
    assert (await cancel(session, a, id).whole()).status == 202
    assert (await cancel(other, a, 1).whole()).status == 202
    edge.recorder.gate("A").set()

    assert final(await call.rest()) == "x by A"


@clause("handshake.delete")
async def test_a_deleted_session_ends_its_calls_and_streams_on_the_other_instance(edge: Deployment) -> None:
    a, b = edge.pair(lease_s=1)
    session = await a.initialize()
    call, _ = await begun(edge, session, a, "change")
    stream = session.get(a)
    await stream.event()
    await session.delete(b)
    edge.clock.advance(1)
    await stream.rest()
    await call.rest()

    assert edge.recorder.ends == ["A:change:cancelled"]


async def test_a_call_stopped_by_its_server_leaves_the_stream_to_be_taken_over(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, seen = await begun(edge, session, a, "look_up")
    await call.kill()
    edge.clock.advance(LEASE_S + 1)
    edge.recorder.gate("B").set()

    assert final(await session.get(b, seen).rest()) == "x by B"


async def test_a_cancellation_that_came_while_the_instance_was_dead_counts_for_the_one_that_takes_over(
    edge: Deployment,
) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call, last = await begun(edge, session, a, "look_up")
    a.link.cut()
    await call.disconnect()
    await cancel(session, b).whole()
    edge.clock.advance(LEASE_S + 2)
    rest = await session.get(b, last).messages()

    assert [message for message in rest if "id" in message] == []
    assert edge.recorder.runs == ["A:look_up"]


async def test_of_two_cancellations_of_one_id_the_later_counts_for_the_later_request(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    await cancel(session, b).whole()
    edge.clock.advance(20)
    call, _ = await begun(edge, session, a, "look_up")
    await cancel(session, b).whole()

    assert await call.messages() == []
    assert edge.recorder.ends == ["A:look_up:cancelled"]


@pytest.mark.parametrize("end", ["finished", "cancelled"])
async def test_what_a_call_brings_along_counts_against_the_byte_quota_however_it_ends(
    edge: Deployment, end: str
) -> None:
    a = edge.instance("A", max_log_bytes=65536)
    session = await a.initialize()
    call = session.call(a, "look_up", {"topic": "x", "unread": "y" * 70_000}, token="p")
    await call.message()
    if end == "cancelled":
        await cancel(session, a).whole()
    else:
        edge.recorder.gate("A").set()
    await call.rest()
    await call.gone()
    over = session.call(a, "count", {"to": 2}, token="p")
    await over.rest()

    assert over.last_id == ""


async def test_a_cancelled_call_has_no_answer_even_if_its_tool_gives_one(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "stubborn", token="p")
    await call.message()
    await cancel(session, b).whole()
    rest = await call.messages()
    await call.gone()

    assert (rest, edge.recorder.ends) == ([], ["A:stubborn:cancelled"])
    assert a.telemetry.events[-1].status == "cancelled"
