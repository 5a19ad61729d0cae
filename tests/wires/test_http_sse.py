"""Revision 2024-11-05: one stream, and POSTs that may reach any instance."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.asgi import Answer, Call
from tests.support.deployment import Deployment, Instance, bearer, notification, request, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

STREAM = [("accept", "text/event-stream")]


class Client:
    """A client of the old wire: its stream is held by one instance, its POSTs go to another."""

    def __init__(self, holder: Instance, other: Instance, key: str | None = None) -> None:
        self.other = other
        self.key = key
        self.stream: Call = holder.send("GET", "/sse", [*STREAM, *bearer(key)])
        self.path = ""

    async def open(self, **capabilities: Any) -> Client:
        event = await self.stream.event()
        assert event is not None
        assert event.kind == "endpoint"
        self.path = event.data
        params = {
            "protocolVersion": "2024-11-05",
            "capabilities": capabilities,
            "clientInfo": {"name": "t", "version": "1"},
        }
        await self.post(request("initialize", params, id="init"))
        answer = await self.stream.message()
        assert answer["result"]["protocolVersion"] == "2024-11-05"
        return self

    async def post(self, message: Any) -> Answer:
        return await self.other.post(message, bearer(self.key), self.path).whole()

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, *, id: Any = 1, **meta: Any) -> None:
        params = {"name": tool, "arguments": arguments or {}, "_meta": meta}
        assert (await self.post(request("tools/call", params, id=id))).status == 202


@clause("sse.endpoint")
async def test_the_first_event_names_where_to_post(edge: Deployment) -> None:
    stream = edge.instance("A").send("GET", "/sse", STREAM)
    event = await stream.event()

    assert event is not None
    assert (event.kind, event.data.partition("=")[0]) == ("endpoint", "/messages?session_id")
    assert stream.headers["content-type"] == "text/event-stream"


@clause("sse.messages")
async def test_a_post_to_another_instance_is_acknowledged_and_answered_on_the_stream(edge: Deployment) -> None:
    client = await Client(*edge.pair()).open()
    params = {"name": "echo", "arguments": {"text": "hi"}}
    acknowledged = await client.post(request("tools/call", params, id="x"))
    event = await client.stream.event()

    assert (acknowledged.status, acknowledged.body) == (202, b"Accepted")
    assert event is not None
    assert event.kind == "message"
    assert event.data == '{"jsonrpc":"2.0","id":"x","result":{"content":[{"type":"text","text":"hi"}],"isError":false}}'


@clause("sse.messages")
async def test_a_question_goes_out_on_the_stream_and_its_answer_reaches_any_instance(edge: Deployment) -> None:
    client = await Client(*edge.pair()).open(elicitation={})
    for tool in ("greet", "greet_now"):
        await client.call(tool)
        question = await client.stream.message()
        assert question["method"] == "elicitation/create"
        result = {"action": "accept", "content": {"name": "Ann"}}
        assert (await client.post({"jsonrpc": "2.0", "id": question["id"], "result": result})).status == 202
        assert text(await client.stream.message()) == "Hello, Ann!"


async def test_a_cancelled_call_has_no_answer_and_the_others_have_theirs(edge: Deployment) -> None:
    client = await Client(*edge.pair()).open()
    await client.call("look_up", {"topic": "one"}, id=1)
    await client.call("look_up", {"topic": "two"}, id="1")
    await edge.until(lambda: len(edge.recorder.runs) == 2)
    await client.post(notification("notifications/cancelled", {"requestId": 1}))
    await edge.until(lambda: bool(edge.recorder.ends))
    edge.recorder.gate("A").set()

    assert (await client.stream.message())["id"] == "1"
    assert edge.recorder.ends == ["A:look_up:cancelled", "A:look_up:done"]


async def test_progress_and_changes_come_on_the_stream(edge: Deployment) -> None:
    client = await Client(*edge.pair()).open()
    await client.call("count", {"to": 2}, progressToken="p")
    counted = [await client.stream.message() for _ in range(3)]
    await client.post(request("resources/subscribe", {"uri": "note://fixed"}, id=2))
    await client.stream.message()
    await client.call("touch", {"uri": "note://fixed"}, id=3)
    touched = {(await client.stream.message()).get("method", "answer") for _ in range(2)}

    assert [m.get("params", {}).get("progress") for m in counted] == [1, 2, None]
    assert touched == {"answer", "notifications/resources/updated"}


async def test_a_request_before_initialize_is_refused_on_the_stream(edge: Deployment) -> None:
    a = edge.instance("A")
    stream = a.send("GET", "/sse", STREAM)
    event = await stream.event()
    assert event is not None
    await a.post(notification("notifications/initialized"), path=event.data).whole()
    await a.post(request("tools/list", id=4), path=event.data).whole()

    assert (await stream.message())["error"]["message"] == "Initialize first."


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/messages", 400),
        ("/messages?session_id=", 400),
        ("/messages?session_id=x&session_id=y", 400),
        ("/messages?session_id=x", 404),
        ("/messages?session_id=%FF%00", 404),
        ("/messages?session_id=" + "0" * 32 + "." + "A" * 16, 404),
        ("/messages?%ff=%zz", 400),
    ],
)
async def test_a_post_to_no_stream_is_refused(edge: Deployment, path: str, status: int) -> None:
    answer = await edge.instance("A").post(request("ping"), path=path).whole()

    assert answer.status == status
    assert "/sse" in answer.json["error"]["message"]


async def lost(client: Client) -> str:
    """Lose the stream after its last event; the id with which an EventSource comes back."""
    await client.stream.disconnect()
    return client.stream.last_id


async def test_a_lost_stream_goes_on_at_another_instance_with_what_was_missed(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    await client.call("look_up", {"topic": "x"}, id=9)
    await edge.until(lambda: bool(edge.recorder.runs))
    seen = await lost(client)
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    endpoint = await resumed.event()
    edge.recorder.gate("A").set()
    answer = await resumed.message()
    await client.call("echo", {"text": "again"}, id=10)

    assert endpoint is not None
    assert (endpoint.kind, endpoint.data) == ("endpoint", client.path)
    assert (answer["id"], text(answer)) == (9, "x by A")
    assert text(await resumed.message()) == "again"


@pytest.mark.parametrize(("tool", "runs"), [("look_up", ["A:look_up", "B:look_up"]), ("change", ["A:change"])])
async def test_a_call_whose_holder_died_is_run_again_or_said_to_be_interrupted(
    edge: Deployment, tool: str, runs: list[str]
) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    await client.call(tool, {"topic": "x"}, id=9)
    await edge.until(lambda: bool(edge.recorder.runs))
    a.link.cut()
    seen = await lost(client)
    edge.clock.advance(60)
    edge.recorder.gate("B").set()
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()
    answer = await resumed.message()

    assert answer["id"] == 9
    assert edge.recorder.runs == runs
    if tool == "look_up":
        assert text(answer) == "x by B"
    else:
        assert answer["error"]["data"] == {"interrupted": True, "method": "tools/call"}
        await edge.until(lambda: [event.status for event in b.telemetry.events][-1:] == ["interrupted"])


async def test_a_client_that_comes_back_without_its_id_is_served_by_the_version_it_names(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    await client.stream.disconnect()
    back = b.send("GET", "/sse", [*STREAM, ("mcp-protocol-version", "2024-11-05")])
    endpoint = await back.event()
    assert endpoint is not None
    await a.post(request("ping", id=1), path=endpoint.data).whole()

    assert endpoint.data != client.path
    assert (await back.message())["result"] == {}


async def test_of_two_streams_of_one_session_the_newer_is_served(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    last = client.stream.last_id
    newer = b.send("GET", "/sse", [*STREAM, ("last-event-id", last)])
    await newer.event()
    await client.stream.gone()
    await client.call("echo", {"text": "to the newer"}, id=2)

    assert text(await newer.message()) == "to the newer"


@pytest.mark.parametrize("last", ["", "x", "0:1", ":1", "0" * 32 + "." + "0" * 24 + ":1"])
async def test_an_unknown_last_event_id_begins_a_new_session(edge: Deployment, last: str) -> None:
    endpoint = await edge.instance("A").send("GET", "/sse", [*STREAM, ("last-event-id", last)]).event()

    assert endpoint is not None
    assert endpoint.kind == "endpoint"


async def test_somebody_else_cannot_resume_a_stream(edge: Deployment) -> None:
    a, b = edge.pair(auth="keys")
    client = await Client(a, b, "alice-key").open()
    last = client.stream.last_id
    endpoint = await b.send("GET", "/sse", [*STREAM, ("last-event-id", last), *bearer("bob-key")]).event()

    assert endpoint is not None
    assert endpoint.data != client.path


async def test_nobody_else_can_post_to_a_stream(edge: Deployment) -> None:
    client = await Client(*edge.pair(auth="keys"), "alice-key").open()
    answer = await client.other.post(request("ping"), bearer("bob-key"), client.path).whole()

    assert answer.status == 404


async def test_an_answer_to_what_was_never_asked_is_refused(edge: Deployment) -> None:
    client = await Client(*edge.pair()).open()
    answer = await client.post({"jsonrpc": "2.0", "id": "never", "result": {}})

    assert answer.status == 400
    assert "never asked" in answer.json["error"]["message"]


async def test_more_messages_than_the_stream_takes_are_refused(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    a.link.cut()
    statuses = [(await client.post(request("ping", id=n))).status for n in range(66)]

    assert statuses == [202] * 64 + [429] * 2


async def test_a_drain_ends_the_stream_with_its_answers_and_a_retry(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    await client.call("look_up", {"topic": "x"}, id=9)
    await edge.until(lambda: bool(edge.recorder.runs))
    a.drain.draining = True
    edge.recorder.gate("A").set()
    events = await client.stream.rest()

    assert '"id":9' in events[0].data
    assert events[-1].retry_ms == 500


@pytest.mark.parametrize("place", ["\u00b2", "-1", "1 ", "", "999999999"])
async def test_a_place_that_is_no_number_begins_a_new_session(edge: Deployment, place: str) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    session_id = client.stream.last_id.rpartition(":")[0]
    endpoint = await b.send("GET", "/sse", [*STREAM, ("last-event-id", f"{session_id}:{place}")]).event()

    assert endpoint is not None
    assert endpoint.data not in ("", client.path)


async def test_the_id_in_the_url_is_good_for_posting_only(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    posting_id = client.path.partition("=")[2]
    read = await b.post(request("tools/list"), [("mcp-session-id", posting_id)]).whole()
    resumed = await b.send("GET", "/sse", [*STREAM, ("last-event-id", posting_id + ":0")]).event()

    assert read.status == 404
    assert resumed is not None
    assert resumed.data != client.path


async def test_an_owner_that_thaws_after_its_lease_answers_no_second_time(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    await client.call("change", {"topic": "x"}, id=9)
    await edge.until(lambda: bool(edge.recorder.runs))
    a.link.cut()
    seen = await lost(client)
    edge.clock.advance(60)
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()
    interrupted = await resumed.message()
    a.link.mend()
    edge.recorder.gate("A").set()
    await client.stream.gone()  # the first owner has ended what it had to
    await client.call("echo", {"text": "next"}, id=10)
    after = await resumed.message()

    assert (interrupted["id"], after["id"]) == (9, 10)


async def test_a_message_whose_taker_died_at_once_is_answered_after_its_lease(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    atomics: Any = a.platform.atomics
    delete = atomics.delete

    async def last_delete(key: str) -> None:
        await delete(key)
        if key.startswith("inbox/"):
            a.link.cut()

    atomics.delete = last_delete
    await client.call("look_up", {"topic": "x"}, id=9)
    await edge.until(lambda: not a.link.is_whole)
    seen = await lost(client)
    edge.clock.advance(60)
    edge.recorder.gate("B").set()
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()

    assert text(await resumed.message()) == "x by B"


async def test_streams_that_nobody_uses_leave_nothing_behind_when_they_cannot_be_resumed_any_more(
    edge: Deployment,
) -> None:
    a = edge.instance("A")
    for _ in range(3):
        stream = a.send("GET", "/sse", STREAM)
        await stream.event()
        await stream.disconnect()
        await stream.gone()
    kept = await edge.records.list("door/")
    edge.clock.advance(a.platform.stream_budget_s + a.platform.settings.stream_ttl_s)

    assert len(kept) == 3
    assert await edge.records.list("door/") == []
    assert await edge.atomics.read("listener/") == []


async def test_duplicate_request_ids_are_served_independently(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    await client.call("look_up", {"topic": "one"}, id=1)
    await client.call("look_up", {"topic": "two"}, id=1)
    await edge.until(lambda: len(edge.recorder.runs) == 2)
    edge.recorder.gate("A").set()

    assert {text(await client.stream.message()) for _ in range(2)} == {"one by A", "two by A"}
    assert await edge.atomics.read("inbox/") == []


async def test_what_a_killed_instance_had_taken_of_duplicates_is_run_on_each(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    for topic in ("one", "two"):
        await client.call("look_up", {"topic": topic}, id=1)
    await edge.until(lambda: len(edge.recorder.runs) == 2)
    a.link.cut()
    seen = await lost(client)
    edge.clock.advance(60)
    edge.recorder.gate("B").set()
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()

    assert {text(await resumed.message()) for _ in range(2)} == {"one by B", "two by B"}


@pytest.mark.parametrize("done", [False, True])
async def test_a_momentary_store_error_ends_the_stream_and_no_call(edge: Deployment, done: bool) -> None:
    a, b = edge.pair(lease_s=1)
    edge.clock.start()
    client = await Client(a, b).open()
    await client.call("change", {"topic": "x"}, id=9)
    await edge.until(lambda: bool(edge.recorder.runs))
    await asyncio.wait_for(a.fail_once("swap", "running/", done=done).wait(), 10)
    events = await client.stream.rest()
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", client.stream.last_id)])
    await resumed.event()
    edge.recorder.gate("A").set()

    assert events[-1].retry_ms == 500
    assert text(await resumed.message()) == "x by A"


async def test_a_response_that_could_not_be_stored_is_made_up_for_after_the_lease(edge: Deployment) -> None:
    a, b = edge.pair()
    client = await Client(a, b).open()
    failed = a.fail_once("create", "outbox/")
    await client.call("echo", {"text": "x"}, id=9)
    await asyncio.wait_for(failed.wait(), 10)
    seen = await lost(client)
    edge.clock.advance(60)
    resumed = b.send("GET", "/sse", [*STREAM, ("last-event-id", seen)])
    await resumed.event()

    assert (await resumed.message())["error"]["data"]["interrupted"] is True


async def test_more_bytes_than_a_stream_takes_are_refused(edge: Deployment) -> None:
    a, b = edge.pair(max_body_bytes=1024)
    client = await Client(a, b).open()
    a.link.cut()
    statuses = [(await client.post(request("ping", {"x": "y" * 800}, id=n))).status for n in range(4)]

    assert statuses == [202, 202, 429, 429]


async def test_a_call_beyond_the_quota_is_told_so_and_those_under_way_go_on(edge: Deployment) -> None:
    client = await Client(*edge.pair(max_streams=2)).open()
    for n in range(2):
        await client.call("change", {"topic": str(n)}, id=n)
    await edge.until(lambda: len(edge.recorder.runs) == 2)
    await client.call("change", {"topic": "2"}, id=2)
    refused = await client.stream.message()
    edge.recorder.gate("A").set()
    answers = [await client.stream.message() for _ in range(2)]
    await client.call("change", {"topic": "3"}, id=3)

    assert (refused["id"], refused["error"]) == (2, {"code": -32600, "message": "Too many calls at once (at most 2)."})
    assert sorted(text(answer) for answer in answers) == ["0 by A", "1 by A"]
    assert text(await client.stream.message()) == "3 by A"
