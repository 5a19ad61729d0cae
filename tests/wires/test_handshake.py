"""Revisions 2025-03-26 to 2025-11-25: sessions, plain answers, batches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deployment import HANDSHAKE, Deployment, notification, request, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

versions = pytest.mark.parametrize("version", HANDSHAKE)


@clause("handshake.one-endpoint", "handshake.json-or-stream")
@versions
async def test_a_session_opened_on_one_instance_is_served_by_the_other(edge: Deployment, version: str) -> None:
    a, b = edge.pair()
    session = await a.initialize(version)
    answer = await session.call(b, "echo", {"text": "hi"}).whole()

    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"content": [{"type": "text", "text": "hi"}], "isError": False},
    }


@clause("handshake.session-id")
async def test_session_ids_are_visible_ascii_and_never_alike(edge: Deployment) -> None:
    a = edge.instance("A")
    ids = {(await a.initialize()).id for _ in range(20)}

    assert len({id[:16] for id in ids}) == 20
    assert all(0x21 <= ord(c) <= 0x7E for id in ids for c in id)
    assert all(len(id) >= 32 for id in ids)


async def test_the_store_never_sees_a_session_id(edge: Deployment) -> None:
    session = await edge.instance("A").initialize()
    keys = await edge.records.list("", limit=1000)
    values = [await edge.records.get(key) or b"" for key in keys]

    assert keys
    assert session.id.partition(".")[0] not in " ".join(keys)
    assert session.id.partition(".")[0].encode() not in b"".join(values)


@clause("handshake.accepted")
@pytest.mark.parametrize(
    "message",
    [
        notification("notifications/initialized"),
        notification("notifications/roots/list_changed"),
        notification("notifications/no/such", {"a": 1}),
        notification("notifications/progress", {"progressToken": 1}),
        notification("notifications/cancelled"),
        notification("notifications/cancelled", {"requestId": [1]}),
        notification("notifications/cancelled", {"requestId": 99}),
        notification("no_prefix"),
    ],
    ids=str,
)
async def test_a_notification_is_accepted_with_an_empty_202(edge: Deployment, message: dict[str, Any]) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    answer = await session.post(a, message).whole()

    assert (answer.status, answer.body) == (202, b"")
    assert "content-type" not in answer.headers


@clause("handshake.no-session")
async def test_a_request_without_a_session_is_refused(edge: Deployment) -> None:
    a = edge.instance("A")
    call = await a.post(request("tools/list")).whole()
    stream = await a.send("GET", "/mcp", [("accept", "text/event-stream")]).whole()
    end = await a.send("DELETE", "/mcp").whole()

    assert [call.status, stream.status, end.status] == [400, 400, 400]
    assert "initialize" in call.json["error"]["message"]


@clause("handshake.delete", "handshake.unknown-session")
async def test_a_deleted_session_is_gone_on_every_instance(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    assert (await session.delete(b)).status == 204
    after = [await session.call(at, "echo", {"text": "x"}).whole() for at in (a, b)]

    assert [answer.status for answer in after] == [404, 404]
    assert after[0].json["id"] == 1
    assert (await session.get(a).whole()).status == 404
    assert (await session.delete(a)).status == 404


@clause("handshake.bad-version")
@pytest.mark.parametrize("version", ["2024-01-01", "", "nonsense", "2025-11-25 ", "\xff"])
async def test_a_version_that_is_not_served_is_refused(edge: Deployment, version: str) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    headers = [("mcp-session-id", session.id), ("mcp-protocol-version", version)]
    answer = await a.post(request("tools/list"), headers).whole()

    assert answer.status == 400
    assert "2025-11-25" in answer.json["error"]["message"]


@clause("handshake.absent-version")
@versions
async def test_without_the_version_header_the_negotiated_version_counts(edge: Deployment, version: str) -> None:
    a = edge.instance("A")
    session = await a.initialize(version)
    await a.post(
        request("tools/call", {"name": "echo", "arguments": {"text": "x"}}), [("mcp-session-id", session.id)]
    ).whole()

    assert a.telemetry.events[-1].wire == version


@versions
async def test_an_unknown_version_is_answered_with_the_newest_of_the_handshake_era(
    edge: Deployment, version: str
) -> None:
    del version
    params = {"protocolVersion": "2031-01-01", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    answer = await edge.instance("A").post(request("initialize", params)).whole()

    assert answer.json["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"protocolVersion": 1},
        {"protocolVersion": "2025-11-25"},
        {"protocolVersion": "2025-11-25", "capabilities": []},
    ],
    ids=str,
)
async def test_an_initialize_that_cannot_be_read_opens_no_session(edge: Deployment, params: Any) -> None:
    answer = await edge.instance("A").post(request("initialize", params)).whole()

    assert answer.json["error"]["code"] == -32602
    assert "mcp-session-id" not in answer.headers
    assert await edge.records.list("session", limit=9) == []


async def test_a_client_that_describes_itself_at_length_is_refused(edge: Deployment) -> None:
    info = {"name": "x" * 70_000, "version": "1"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
    answer = await edge.instance("A").post(request("initialize", params)).whole()

    assert answer.status == 400
    assert "too long" in answer.json["error"]["message"]
    assert "mcp-session-id" not in answer.headers


@clause("handshake.batches")
async def test_a_batch_is_answered_with_an_array(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize("2025-03-26")
    batch = [
        request("tools/call", {"name": "echo", "arguments": {"text": "1"}}, id=1),
        notification("notifications/initialized"),
        request("tools/call", {"name": "count", "arguments": {"to": 3}}, id="two"),
        request("no/such", id=3),
    ]
    answer = await session.post(a, batch).whole()

    assert answer.status == 200
    assert [m["id"] for m in answer.json] == [1, "two", 3]
    assert [("error" in m) for m in answer.json] == [False, False, True]


@clause("handshake.batches", "handshake.accepted")
async def test_a_batch_of_notifications_is_accepted_with_202(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize("2025-03-26")
    answer = await session.post(a, [notification("notifications/initialized")] * 2).whole()

    assert (answer.status, answer.body) == (202, b"")


@clause("handshake.batches")
@pytest.mark.parametrize(
    ("version", "batch"),
    [
        ("2025-06-18", [request("ping")]),
        ("2025-11-25", [request("ping")]),
        ("2025-03-26", []),
        ("2025-03-26", [request("ping")] * 65),
        ("2025-03-26", [request("ping"), 7]),
        ("2025-03-26", [[request("ping")]]),
        ("2025-03-26", [request("initialize", {})]),
    ],
    ids=["2025-06-18", "2025-11-25", "empty", "long", "number", "nested", "initialize"],
)
async def test_any_other_batch_is_refused_whole(edge: Deployment, version: str, batch: Any) -> None:
    a = edge.instance("A")
    session = await a.initialize(version)
    answer = await session.post(a, batch).whole()

    assert (answer.status, answer.json["error"]["code"]) == (400, -32600)


async def test_a_slow_call_in_a_batch_is_answered_with_the_rest(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize("2025-03-26")
    slow = request("tools/call", {"name": "look_up", "arguments": {"topic": "x"}}, id=1)
    call = session.post(a, [slow, request("ping", id=2)])
    await edge.until(lambda: bool(edge.recorder.runs))
    edge.recorder.gate("A").set()

    assert [m["id"] for m in (await call.whole()).json] == [1, 2]


@versions
@pytest.mark.parametrize("method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list", "ping"])
async def test_lists_and_ping_are_served(edge: Deployment, version: str, method: str) -> None:
    a = edge.instance("A")
    answer = await (await a.initialize(version)).request(a, method).whole()

    assert answer.status == 200
    assert "resultType" not in answer.json["result"]


@versions
@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("no/such", None, -32601),
        ("tools/call", {"name": "no_such", "arguments": {}}, -32602),
        ("tools/call", None, -32602),
        ("tools/call", {"arguments": {}}, -32602),
        ("tools/call", {"name": 7}, -32602),
        ("tools/call", {"name": "echo", "arguments": [1]}, -32602),
        ("tools/call", {"name": "echo", "arguments": {"text": "x"}, "_meta": 7}, -32602),
        ("tools/call", {"name": "refuse", "arguments": {"code": -32002}}, -32002),
        ("prompts/get", {"name": "hello", "arguments": 1}, -32602),
        ("logging/setLevel", {"level": "loud"}, -32602),
        ("resources/subscribe", {}, -32602),
        ("resources/read", {"uri": 7}, -32602),
        ("server/discover", None, -32601),
        ("subscriptions/listen", {"notifications": {}}, -32601),
    ],
    ids=str,
)
async def test_a_request_that_cannot_be_served_has_a_json_rpc_error(
    edge: Deployment, version: str, method: str, params: Any, code: int
) -> None:
    a = edge.instance("A")
    answer = await (await a.initialize(version)).request(a, method, params, id="q").whole()

    assert answer.status == 200
    assert (answer.json["id"], answer.json["error"]["code"]) == ("q", code)


@clause("handshake.cancelled")
async def test_a_cancelled_request_of_a_batch_is_stopped_and_has_no_answer(edge: Deployment) -> None:
    a, b = edge.pair(quiet_s=0.01)
    session = await a.initialize("2025-03-26")
    slow = [request("tools/call", {"name": "change", "arguments": {"topic": topic}}, id=topic) for topic in "xy"]
    batch = session.post(a, [*slow, request("ping", id=3)])
    await edge.until(lambda: len(edge.recorder.runs) == 2)
    await session.post(b, notification("notifications/cancelled", {"requestId": "x"})).whole()
    await edge.until(lambda: edge.recorder.ends == ["A:change:cancelled"])
    edge.recorder.gate("A").set()

    assert [(m["id"], "result" in m) for m in (await batch.whole()).json] == [("y", True), (3, True)]


async def test_a_batch_whose_requests_were_all_cancelled_has_no_body(edge: Deployment) -> None:
    a, b = edge.pair(quiet_s=0.01)
    session = await a.initialize("2025-03-26")
    batch = session.post(a, [request("tools/call", {"name": "change", "arguments": {"topic": "x"}})])
    await edge.until(lambda: len(edge.recorder.runs) == 1)
    await session.post(b, notification("notifications/cancelled", {"requestId": 1})).whole()
    answer = await batch.whole()

    assert (answer.status, answer.body) == (202, b"")


async def test_a_batch_ends_with_its_session(edge: Deployment) -> None:
    a, b = edge.pair(quiet_s=0.01)
    session = await a.initialize("2025-03-26")
    batch = session.post(a, [request("tools/call", {"name": "change", "arguments": {"topic": "x"}})])
    await edge.until(lambda: len(edge.recorder.runs) == 1)
    await session.delete(b)
    await batch.whole()

    assert edge.recorder.ends == ["A:change:cancelled"]


async def test_a_batch_with_an_answer_to_what_was_never_asked_is_refused_whole(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize("2025-03-26")
    stray: dict[str, Any] = {"jsonrpc": "2.0", "id": "nobody asked", "result": {}}
    call = request("tools/call", {"name": "touch", "arguments": {"uri": "note://fixed"}})
    answer = await session.post(a, [call, stray]).whole()

    assert (answer.status, answer.json["error"]["code"]) == (400, -32600)
    assert "never asked" in answer.json["error"]["message"]
    assert [event.method for event in a.telemetry.events] == ["initialize"]


async def test_a_bug_in_a_tool_tells_the_client_nothing_secret(edge: Deployment) -> None:
    a = edge.instance("A")
    answer = await (await a.initialize()).call(a, "crash").whole()

    assert answer.status == 200
    assert b"Traceback" not in answer.body


async def test_arguments_that_do_not_fit_are_the_tools_error(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    cases: list[dict[str, Any]] = [{}, {"a": "x"}, {"a": {}}, {"a": 1.5}, {"a": 10**4000}]
    for arguments in cases:
        answer = await session.call(a, "add", arguments).whole()
        assert answer.status == 200
        assert answer.json["result"]["isError"] is (arguments != {"a": 10**4000}), arguments


async def test_two_requests_in_flight_with_one_id_are_both_answered(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    calls = [session.call(at, "look_up", {"topic": topic}) for at, topic in ((a, "one"), (a, "two"), (b, "three"))]
    await edge.until(lambda: len(edge.recorder.runs) == 3)
    edge.recorder.gate("A").set()
    edge.recorder.gate("B").set()
    answers = [(await call.whole()).json for call in calls]

    assert [text(answer) for answer in answers] == ["one by A", "two by A", "three by B"]
