"""Questions to the client on the handshake revisions: asked on one instance, answered at another, resumed anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import pytest

from tests.support.asgi import Call
from tests.support.deployment import HANDSHAKE, Deployment, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

LEASE_S = 6
ANN: dict[str, Any] = {"action": "accept", "content": {"name": "Ann"}}

ways = pytest.mark.parametrize("tool", ["greet", "greet_now"], ids=["suspended", "held"])


async def asked(call: Call) -> tuple[dict[str, Any], str]:
    """The question on the call's stream, and its event id."""
    while (event := await call.event()) is not None:
        if '"method"' in event.data:
            return json.loads(event.data), event.id or ""
    raise AssertionError("the stream ended without a question")


@clause("handshake.accepted")
@ways
@pytest.mark.parametrize("version", HANDSHAKE[1:])
async def test_a_question_is_asked_on_one_instance_and_answered_at_the_other(
    edge: Deployment, tool: str, version: str
) -> None:
    a, b = edge.pair()
    session = await a.initialize(version)
    call = session.call(a, tool, id="call")
    question, event_id = await asked(call)
    answered = await session.answer(b, question["id"], ANN)
    messages = await call.messages()

    assert question["method"] == "elicitation/create"
    assert event_id
    assert (answered.status, answered.body) == (202, b"")
    assert [m["id"] for m in messages] == ["call"]
    assert text(messages[0]) == "Hello, Ann!"


async def test_the_clients_model_is_asked(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize("2025-03-26")
    call = session.call(a, "joke")
    question, _ = await asked(call)
    said = {"role": "assistant", "content": {"type": "text", "text": "Knock."}, "model": "m"}
    await session.answer(b, question["id"], said)

    assert question["method"] == "sampling/createMessage"
    assert text((await call.messages())[0]) == "Knock."


@ways
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_may_decline(edge: Deployment, tool: str, action: str) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, tool)
    question, _ = await asked(call)
    await session.answer(b, question["id"], {"action": action})

    assert text((await call.messages())[0]) == action


@ways
async def test_a_client_that_cannot_answer_says_so_and_the_call_ends(edge: Deployment, tool: str) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, tool)
    question, _ = await asked(call)
    refusal = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no user here", "data": [1]}}
    assert (await session.post(b, refusal).whole()).status == 202
    last = (await call.messages())[0]

    assert "no user here" in json.dumps(last)


@ways
@pytest.mark.parametrize(
    "result",
    [
        {},
        {"action": "shrug"},
        {"action": "accept"},
        {"action": "accept", "content": {"name": 7}},
        {"action": "accept", "content": []},
        {"action": "accept", "content": {"name": "\ud83d"}},
    ],
    ids=str,
)
async def test_an_answer_that_fits_no_question_fails_the_call_and_nothing_else(
    edge: Deployment, tool: str, result: dict[str, Any]
) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, tool)
    question, _ = await asked(call)
    answered = await session.answer(b, question["id"], result)
    if answered.status == 400:  # what is no Unicode is refused at the door; the question stays open
        assert answered.json["error"]["code"] == -32700
        assert (await session.answer(b, question["id"], ANN)).status == 202
    last = (await call.messages())[-1]

    assert last["id"] == 1
    assert text((await session.call(b, "echo", {"text": "on"}).whole()).json) == "on"


@ways
@pytest.mark.parametrize("result", [{}, {"action": "shrug"}, {"action": "accept", "content": []}], ids=str)
async def test_a_malformed_answer_is_told_as_that_and_is_no_bug_of_the_tool(
    edge: Deployment, tool: str, result: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, tool)
    question, _ = await asked(call)
    await session.answer(b, question["id"], result)

    assert [m["error"] for m in await call.messages()] == [
        {"code": -32602, "message": "The client's answer to elicitation/create is malformed."}
    ]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@ways
async def test_the_first_answer_counts_and_a_repeated_or_late_one_is_accepted_and_changes_nothing(
    edge: Deployment, tool: str
) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, tool)
    question, _ = await asked(call)
    bob = {"action": "accept", "content": {"name": "Bob"}}
    a.link.cut()
    statuses = [(await session.answer(b, question["id"], answer)).status for answer in (ANN, ANN, bob)]
    a.link.mend()
    messages = await call.messages()
    late = await session.answer(b, question["id"], bob)

    assert (statuses, late.status) == ([202, 202, 202], 202)
    assert [text(m) for m in messages] == ["Hello, Ann!"]
    assert len(edge.recorder.runs) == 1


@pytest.mark.parametrize("id", [1, "1", "", "x", "0" * 32 + "." + "A" * 16, "\ud83d", "\0", -1, 10**30])
async def test_an_answer_to_what_was_never_asked_is_refused(edge: Deployment, id: Any) -> None:
    a = edge.instance("A")
    answer = await (await a.initialize()).answer(a, id, ANN)

    assert answer.status == 400
    assert answer.json["error"]["code"] in (-32600, -32700)
    assert await edge.atomics.read("answer/") == []


@ways
async def test_an_answer_of_another_session_is_refused_and_the_question_stays_open(edge: Deployment, tool: str) -> None:
    a, b = edge.pair()
    session, other = await a.initialize(), await a.initialize()
    call = session.call(a, tool)
    question, _ = await asked(call)

    assert (await other.answer(b, question["id"], {"action": "decline"})).status == 400
    assert (await session.answer(b, question["id"], ANN)).status == 202
    assert text((await call.messages())[0]) == "Hello, Ann!"


@ways
async def test_a_question_that_nobody_answers_ends_the_call_in_time(edge: Deployment, tool: str) -> None:
    a = edge.instance("A", question_ttl_s=60)
    session = await a.initialize()
    call = session.call(a, tool)
    await asked(call)
    edge.clock.advance(61)
    last = (await call.messages())[-1]

    assert "not answered in time" in json.dumps(last)
    assert await edge.atomics.read("hold/") == []


@ways
async def test_one_question_more_than_the_quota_is_refused(edge: Deployment, tool: str) -> None:
    a, b = edge.pair(max_questions=2)
    session = await a.initialize()
    calls = [session.call(at, tool, id=n) for n, at in enumerate((a, b))]
    for call in calls:
        await asked(call)
    third = session.call(a, tool, id=3)
    await third.start()

    if third.headers["content-type"] == "application/json":
        refused = (await third.whole()).json
    else:
        refused = (await third.messages())[-1]
    assert "Too many open questions" in json.dumps(refused)


# -- the instance goes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "counts"), [(50, True), (70, False)])
async def test_an_answer_that_is_found_a_little_late_counts_and_later_the_time_is_up(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch, after_s: int, counts: bool
) -> None:
    monkeypatch.setattr(time, "time", edge.clock)  # the sealed state has a time of its own
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet")
    question, event_id = await asked(call)
    await call.disconnect()
    await call.gone()
    await session.answer(b, question["id"], ANN)
    edge.clock.advance(600 + after_s)
    last = (await session.get(b, event_id).messages())[-1]

    if counts:
        assert text(last) == "Hello, Ann!"
    else:
        assert last["error"] == {"code": -32001, "message": "The question was not answered in time."}


async def test_a_suspended_call_goes_on_at_the_other_instance_after_the_first_has_died(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet", id="q")
    question, seen = await asked(call)
    a.link.cut()
    await call.disconnect()
    await session.answer(b, question["id"], ANN)
    edge.clock.advance(LEASE_S + 1)
    messages = await session.get(b, seen).messages()

    assert [(m["id"], text(m)) for m in messages] == [("q", "Hello, Ann!")]
    assert edge.recorder.runs == ["B:greet"]


async def test_a_suspended_call_goes_on_without_waiting_for_the_lease_when_its_client_left(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet")
    question, seen = await asked(call)
    await call.disconnect()
    await call.gone()  # nothing waits in the first instance any more
    await session.answer(b, question["id"], ANN)

    assert [text(m) for m in await session.get(b, seen).messages()] == ["Hello, Ann!"]
    assert edge.recorder.runs == ["B:greet"]


async def test_a_client_that_comes_back_before_it_answers_is_not_asked_again(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet")
    question, seen = await asked(call)
    await call.disconnect()
    await call.gone()
    resumed = await session.get(b, seen).start()
    await session.answer(a, question["id"], ANN)

    assert [text(m) for m in await resumed.messages()] == ["Hello, Ann!"]


async def test_a_client_that_missed_the_question_is_told_it_again(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet")
    question, seen = await asked(call)
    await call.disconnect()
    await call.gone()
    resumed = session.get(b, seen.partition(".")[0] + ".0")
    again, _ = await asked(resumed)
    await session.answer(a, again["id"], ANN)

    assert again == question
    assert [text(m) for m in await resumed.messages()] == ["Hello, Ann!"]


async def test_what_an_instance_stored_but_could_not_ask_is_asked_by_the_next(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet")
    question, seen = await asked(call)
    await call.disconnect()
    await call.gone()
    stream = seen.partition(".")[0]
    for entry in await edge.atomics.read(f"stream/{stream}/"):
        await edge.atomics.delete(entry.key)  # as if it had died between storing and asking
    resumed = session.get(b, f"{stream}.0")
    again, _ = await asked(resumed)
    await session.answer(a, question["id"], ANN)

    assert again == question
    assert [text(m) for m in await resumed.messages()] == ["Hello, Ann!"]


async def test_a_held_question_whose_instance_died_gets_one_final_error(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet_now")
    question, seen = await asked(call)
    a.link.cut()
    await call.disconnect()
    assert (await session.answer(b, question["id"], ANN)).status == 202
    edge.clock.advance(LEASE_S + 1)
    messages = await session.get(b, seen).messages()

    assert [m["error"]["data"]["interrupted"] for m in messages] == [True]


async def test_a_held_question_goes_on_where_it_was_while_its_client_reads_at_the_other(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet_now")
    question, seen = await asked(call)
    await call.disconnect()
    resumed = await session.get(b, seen).start()
    await session.answer(b, question["id"], ANN)

    assert [text(m) for m in await resumed.messages()] == ["Hello, Ann!"]
    assert edge.recorder.runs == ["A:greet_now"]


async def test_a_held_question_ends_with_the_drain(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet_now")
    _, seen = await asked(call)
    a.drain.draining = True
    await call.rest()
    resumed = await session.get(b, seen).start()
    a.drain.expired = True

    assert "restarting" in json.dumps((await resumed.messages())[-1])


async def test_a_suspended_call_survives_a_drain(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet")
    question, seen = await asked(call)
    a.drain.draining = True
    events = await call.rest()
    await call.gone()
    await session.answer(b, question["id"], ANN)

    assert events[-1].retry_ms == 500
    assert [text(m) for m in await session.get(b, seen).messages()] == ["Hello, Ann!"]
    assert edge.recorder.runs == ["B:greet"]


async def test_several_readers_of_a_suspended_call_run_it_once_and_the_newest_has_the_answer(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "greet")
    question, seen = await asked(call)
    await call.disconnect()
    await call.gone()
    readers = [await session.get(at, seen).start() for at in (a, b, b)]
    await session.answer(a, question["id"], ANN)
    newest = [text(m) for m in await readers[-1].messages() if "result" in m]
    events = [await reader.rest() for reader in readers[:-1]]
    back = [await session.get(a, each[-1].id).messages() for each in events if '"result"' not in each[-1].data]

    assert newest == ["Hello, Ann!"]
    assert back
    assert [[text(m) for m in messages if "result" in m] for messages in back] == [["Hello, Ann!"]] * len(back)
    assert len(edge.recorder.runs) == 1


async def test_a_tool_that_keeps_its_place_in_its_state_finds_it_again(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    call = session.call(a, "remember")
    question, seen = await asked(call)
    await call.disconnect()
    await call.gone()
    await session.answer(a, question["id"], {"action": "accept", "content": {"word": "tree"}})

    assert [text(m) for m in await session.get(b, seen).messages()] == ["state kept, word tree"]


async def test_a_client_cannot_speak_for_the_core(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    forged = {"name": "greet", "arguments": {}, "inputResponses": {"x": ANN}, "requestState": "x"}
    call = session.request(a, "tools/call", forged)
    question, _ = await asked(call)

    assert question["method"] == "elicitation/create"


async def test_a_cancelled_question_ends_its_call(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    for n, tool in enumerate(("greet", "greet_now")):
        call = session.call(a, tool, id=n)
        await asked(call)
        await session.post(
            b, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": n}}
        ).whole()
        assert await call.messages() == []
        await call.gone()

    assert await edge.atomics.read("hold/") == []


async def test_a_suspended_call_that_was_left_is_free_at_once(edge: Deployment) -> None:
    a = edge.instance("A", lease_s=1)
    session = await a.initialize()
    call = session.call(a, "greet")
    await call.message()
    atomics: Any = a.platform.atomics
    delete = atomics.delete
    beaten = False

    async def slow(key: str) -> None:
        nonlocal beaten
        if key.startswith("hold/"):  # the question's hold is given back after the lease, and a heartbeat is due
            beat = a.fail_once("swap", "stream/")
            with contextlib.suppress(TimeoutError):
                beaten = await asyncio.wait_for(beat.wait(), 0.7)
        await delete(key)

    atomics.delete = slow
    await call.disconnect()
    await call.gone()

    assert not beaten
