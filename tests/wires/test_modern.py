"""Revision 2026-07-28: what one whole POST gets."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from mcp_edge.records.questions import GRACE_S
from tests.support.asgi import Headers
from tests.support.deployment import ENVELOPE, HANDSHAKE, MODERN, Deployment, notification, request, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "server/discover")


@clause("modern.json-or-stream", "modern.result-type", "modern.server-info")
async def test_a_call_that_emits_nothing_is_answered_with_one_json_object(edge: Deployment) -> None:
    answer = (
        await edge.instance("A").modern("tools/call", {"name": "echo", "arguments": {"text": "hi"}}, id="x").whole()
    )

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "jsonrpc": "2.0",
        "id": "x",
        "result": {
            "content": [{"type": "text", "text": "hi"}],
            "isError": False,
            "resultType": "complete",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "wires", "version": "1.0.0"}},
        },
    }


@clause("modern.post-only")
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_no_other_http_method_exists(edge: Deployment, method: str) -> None:
    headers = [("mcp-protocol-version", MODERN), ("accept", "text/event-stream")]
    answer = await edge.instance("A").send(method, "/mcp", headers).whole()

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@clause("modern.no-session")
async def test_session_id_and_last_event_id_are_ignored_and_no_session_is_minted(edge: Deployment) -> None:
    headers = [("mcp-session-id", "forged"), ("last-event-id", "nonsense")]
    answer = await edge.instance("A").modern("tools/list", headers=headers).whole()

    assert answer.status == 200
    assert "mcp-session-id" not in answer.headers


@clause("modern.notification")
async def test_a_notification_is_accepted_with_an_empty_202(edge: Deployment) -> None:
    message = notification("notifications/cancelled", {"requestId": 1, "_meta": ENVELOPE})
    answer = await edge.instance("A").post(message, [("mcp-protocol-version", MODERN)]).whole()

    assert (answer.status, answer.body) == (202, b"")


@clause("modern.version-header", "modern.method-header")
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], -32020),
        ([("mcp-protocol-version", "2025-11-25")], -32020),
        ([("mcp-protocol-version", MODERN), ("mcp-method", "notifications/progress")], -32020),
        ([("mcp-protocol-version", MODERN), ("mcp-method", "notifications/cancelled")], None),
    ],
    ids=str,
)
async def test_a_notification_whose_headers_contradict_it_is_refused(
    edge: Deployment, headers: Headers, code: int | None
) -> None:
    message = notification("notifications/cancelled", {"requestId": 1, "_meta": ENVELOPE})
    answer = await edge.instance("A").post(message, headers).whole()

    assert answer.status == (202 if code is None else 400)
    assert code is None or answer.json["error"]["code"] == code


async def test_a_notification_of_an_unknown_revision_names_those_that_are_served(edge: Deployment) -> None:
    envelope = {**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "2027-01-01"}
    message = notification("notifications/cancelled", {"requestId": 1, "_meta": envelope})
    answer = await edge.instance("A").post(message, [("mcp-protocol-version", "2027-01-01")]).whole()

    assert (answer.status, answer.json["error"]["code"]) == (400, -32022)


@pytest.mark.parametrize("extra", [{"colour": "red"}, {"colour": "red", "size": "7"}], ids=str)
async def test_an_argument_that_a_prompt_does_not_have_is_the_callers_mistake(
    edge: Deployment, extra: dict[str, str]
) -> None:
    a = edge.instance("A")
    params: dict[str, Any] = {"name": "hello", "arguments": {"name": "Ann", **extra}}
    modern = await a.modern("prompts/get", params).whole()
    handshake = await (await a.initialize()).request(a, "prompts/get", params).whole()

    assert (modern.status, handshake.status) == (400, 200)
    assert modern.json["error"] == handshake.json["error"]
    assert modern.json["error"] == {"code": -32602, "message": "Invalid argument colour: Unexpected keyword argument"}


@clause("modern.no-response-no-batch")
@pytest.mark.parametrize(
    "body",
    [
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}},
        [request("tools/list", {"_meta": ENVELOPE})],
        [],
    ],
    ids=["result", "error", "batch", "empty"],
)
async def test_a_response_or_a_batch_in_the_body_is_refused(edge: Deployment, body: Any) -> None:
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")]
    answer = await edge.instance("A").post(body, headers).whole()

    assert answer.status == 400
    assert answer.json["error"]["code"] == -32600


@clause("modern.json-or-stream", "modern.no-server-request", "modern.unbuffered")
async def test_progress_makes_the_answer_a_stream_without_event_ids(edge: Deployment) -> None:
    call = (
        await edge.instance("A")
        .modern("tools/call", {"name": "count", "arguments": {"to": 2}}, meta={"progressToken": "t"})
        .start()
    )
    events = await call.rest()

    assert call.headers["x-accel-buffering"] == "no"
    assert call.headers["content-type"] == "text/event-stream"
    assert [event.id for event in events] == [None, None, None]
    assert ['"notifications/progress"' in event.data for event in events] == [True, True, False]
    assert '"counted"' in events[-1].data


@clause("modern.json-or-stream")
async def test_a_change_is_no_message_of_the_call_that_made_it(edge: Deployment) -> None:
    answer = await edge.instance("A").modern("tools/call", {"name": "announce", "arguments": {}}).whole()

    assert (answer.headers["content-type"], text(answer.json)) == ("application/json", "announced")


@clause("modern.no-server-request")
async def test_an_imperative_question_fails_without_a_request_to_the_client(edge: Deployment) -> None:
    answer = await edge.instance("A").modern("tools/call", {"name": "greet_now", "arguments": {}}).whole()

    assert "error" in answer.json or answer.json["result"]["isError"]


@clause("modern.disconnect-cancels")
async def test_a_closed_stream_cancels_the_call(edge: Deployment) -> None:
    call = edge.instance("A", quiet_s=0.01).modern("tools/call", {"name": "look_up", "arguments": {"topic": "x"}})
    await call.start()
    await call.disconnect()
    await call.gone()

    assert edge.recorder.ends == ["A:look_up:cancelled"]
    assert edge.instances[0].telemetry.events[-1].status == "gone"


def _headers(**changed: str | None) -> list[tuple[str, str]]:
    fields: dict[str, str | None] = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "echo"}
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    return [(name, value) for name, value in fields.items() if value is not None]


def _echo(**meta: Any) -> dict[str, Any]:
    return request("tools/call", {"name": "echo", "arguments": {"text": "é"}, "_meta": {**ENVELOPE, **meta}})


@clause("modern.version-header", "modern.method-header", "modern.name-header", "modern.encoded-name")
@pytest.mark.parametrize(
    "changed",
    [
        {"mcp_protocol_version": "2025-11-25"},
        {"mcp_protocol_version": None},
        {"mcp_method": "tools/list"},
        {"mcp_method": "Tools/Call"},
        {"mcp_method": None},
        {"mcp_name": "other"},
        {"mcp_name": "ECHO"},
        {"mcp_name": None},
        {"mcp_name": "ech\xf6"},
        {"mcp_name": "=?base64?!!!?="},
        {"mcp_name": "=?base64?" + base64.b64encode(b"other").decode() + "?="},
    ],
    ids=str,
)
async def test_a_header_that_is_missing_or_contradicts_the_body_is_refused(
    edge: Deployment, changed: dict[str, str | None]
) -> None:
    answer = await edge.instance("A").post(_echo(), _headers(**changed)).whole()

    assert answer.status == 400
    assert answer.json["id"] == 1
    assert answer.json["error"]["code"] == -32020


@clause("modern.encoded-name")
async def test_an_encoded_name_is_decoded_before_it_is_compared(edge: Deployment) -> None:
    encoded = "=?base64?" + base64.b64encode(b"echo").decode() + "?="
    answer = await edge.instance("A").post(_echo(), _headers(mcp_name=encoded)).whole()

    assert text(answer.json) == "é"


@clause("modern.encoded-name")
@pytest.mark.parametrize("plain", ["é", "é".encode().decode("latin-1")], ids=["Latin-1", "UTF-8"])
async def test_a_name_that_is_not_ascii_is_compared_in_base64_only(edge: Deployment, plain: str) -> None:
    a = edge.instance("A")
    message = request("resources/read", {"uri": "note://one/é", "_meta": ENVELOPE})
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", "resources/read")]
    encoded = "=?base64?" + base64.b64encode("note://one/é".encode()).decode() + "?="
    good = await a.post(message, [*headers, ("mcp-name", encoded)]).whole()
    bad = await a.post(message, [*headers, ("mcp-name", f"note://one/{plain}")]).whole()

    assert good.json["result"]["contents"][0]["text"] == "note é"
    assert (bad.status, bad.json["error"]["code"]) == (400, -32020)


@clause("modern.name-header")
async def test_a_resource_is_named_by_its_uri(edge: Deployment) -> None:
    a = edge.instance("A")
    params = {"uri": "note://fixed", "_meta": ENVELOPE}
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", "resources/read")]
    good = await a.post(request("resources/read", params), [*headers, ("mcp-name", "note://fixed")]).whole()
    bad = await a.post(request("resources/read", params), [*headers, ("mcp-name", "note://other")]).whole()

    assert good.json["result"]["contents"][0]["text"] == "fixed"
    assert (bad.status, bad.json["error"]["code"]) == (400, -32020)


@clause("modern.param-headers")
@pytest.mark.parametrize(
    ("sent", "status"),
    [(["eu"], 200), (["us"], 400), ([], 400), (["eu", "eu"], 400), (["=?base64?ZXU=?="], 200)],
    ids=["equal", "different", "missing", "twice", "encoded"],
)
async def test_an_argument_must_equal_its_header(edge: Deployment, sent: list[str], status: int) -> None:
    headers = [("mcp-param-region", value) for value in sent]
    answer = (
        await edge.instance("A")
        .modern("tools/call", {"name": "by_region", "arguments": {"region": "eu"}}, headers=headers)
        .whole()
    )

    assert answer.status == status
    assert answer.json.get("error", {}).get("code") == (None if status == 200 else -32020)


@clause("modern.unsupported-version")
async def test_an_unsupported_version_names_those_that_are_served(edge: Deployment) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    answer = await edge.instance("A").post(_echo(**meta), _headers(mcp_protocol_version="2099-01-01")).whole()

    assert answer.status == 400
    assert answer.json["error"]["code"] == -32022
    assert answer.json["error"]["data"] == {"supported": [MODERN], "requested": "2099-01-01"}


@clause("modern.capability")
async def test_a_capability_that_the_client_lacks_is_named(edge: Deployment) -> None:
    meta: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {}}
    answer = await edge.instance("A").modern("tools/call", {"name": "greet", "arguments": {}}, meta=meta).whole()

    assert answer.status == 400
    assert answer.json["error"]["code"] == -32021
    assert "elicitation" in answer.json["error"]["data"]["requiredCapabilities"]


@clause("modern.unknown-method", "modern.removed")
@pytest.mark.parametrize(
    "method",
    ["no/such", "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/get"],
)
async def test_an_unknown_or_removed_method_is_not_found(edge: Deployment, method: str) -> None:
    params = {"uri": "note://fixed", "level": "info", "name": "echo"}
    answer = await edge.instance("A").modern(method, params).whole()

    assert answer.status == 404
    assert answer.json["error"]["code"] == -32601


@clause("modern.envelope")
@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"_meta": None},
        {"_meta": []},
        {"_meta": {}},
        {"_meta": {k: v for k, v in ENVELOPE.items() if not k.endswith("Version")}},
        {"_meta": {k: v for k, v in ENVELOPE.items() if not k.endswith("Capabilities")}},
        {"_meta": {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": "none"}},
        {"_meta": {**ENVELOPE, "io.modelcontextprotocol/clientInfo": {"name": 1}}},
    ],
    ids=str,
)
async def test_a_missing_or_malformed_envelope_is_an_invalid_request(edge: Deployment, params: Any) -> None:
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")]
    answer = await edge.instance("A").post(request("tools/list", params), headers).whole()

    assert answer.status == 400
    assert answer.json["error"]["code"] == -32602


@clause("modern.envelope")
async def test_client_info_may_be_left_out(edge: Deployment) -> None:
    meta = {k: v for k, v in ENVELOPE.items() if not k.endswith("clientInfo")}
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "echo")]
    message = request("tools/call", {"name": "echo", "arguments": {"text": "hi"}, "_meta": meta})
    answer = await edge.instance("A").post(message, headers).whole()

    assert text(answer.json) == "hi"


@clause("modern.resource-not-found", "modern.codes")
async def test_an_unknown_resource_is_invalid_params(edge: Deployment) -> None:
    answer = await edge.instance("A").modern("resources/read", {"uri": "note://nowhere/at/all"}).whole()

    assert answer.json["error"]["code"] == -32602


@clause("modern.unknown-tool")
async def test_an_unknown_tool_is_a_protocol_error(edge: Deployment) -> None:
    answer = await edge.instance("A").modern("tools/call", {"name": "no_such", "arguments": {}}).whole()

    assert answer.json["error"] == {"code": -32602, "message": "Unknown tool: no_such"}


@clause("modern.result-type", "modern.cacheable", "modern.server-info")
@pytest.mark.parametrize("method", LISTS)
async def test_what_may_be_cached_says_so(edge: Deployment, method: str) -> None:
    result = (await edge.instance("A").modern(method).whole()).json["result"]

    assert result["resultType"] == "complete"
    assert result["ttlMs"] >= 0
    assert result["cacheScope"] in ("public", "private")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "wires"


@clause("modern.cacheable", "modern.result-type")
@pytest.mark.parametrize("uri", ["note://fixed", "note://one/7"])
async def test_a_resource_says_how_long_it_may_be_cached(edge: Deployment, uri: str) -> None:
    result = (await edge.instance("A").modern("resources/read", {"uri": uri}).whole()).json["result"]

    assert result["ttlMs"] >= 0
    assert result["cacheScope"] in ("public", "private")
    assert result["resultType"] == "complete"


@clause("modern.result-type")
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("prompts/get", {"name": "hello", "arguments": {"name": "Ann"}}),
        ("prompts/get", {"name": "plain"}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "hello"}, "argument": {"name": "name", "value": "an"}},
        ),
        ("tools/call", {"name": "fail", "arguments": {}}),
        ("tools/call", {"name": "whole_result", "arguments": {}}),
        ("tools/call", {"name": "numbers"}),
    ],
    ids=str,
)
async def test_every_result_has_its_type(edge: Deployment, method: str, params: dict[str, Any]) -> None:
    answer = await edge.instance("A").modern(method, params).whole()

    assert answer.json["result"]["resultType"] == "complete"


@clause("modern.tool-order")
async def test_the_order_of_tools_is_the_same_on_every_instance(edge: Deployment) -> None:
    a, b = edge.pair()
    names = [
        [tool["name"] for tool in (await at.modern("tools/list").whole()).json["result"]["tools"]] for at in (a, b, a)
    ]

    assert names[0] == names[1] == names[2]
    assert len(names[0]) > 20


@clause("modern.input-required", "modern.sealed-state")
async def test_a_question_rides_in_the_result_and_its_answer_in_the_next_request_to_another_instance(
    edge: Deployment,
) -> None:
    a, b = edge.pair()
    asked = (await a.modern("tools/call", {"name": "remember", "arguments": {}}).whole()).json["result"]
    assert asked["resultType"] == "input_required"
    assert asked["requestState"] != "asked"
    answers = {"word": {"action": "accept", "content": {"word": "tree"}}}
    params = {"name": "remember", "arguments": {}, "inputResponses": answers, "requestState": asked["requestState"]}

    assert text((await b.modern("tools/call", params).whole()).json) == "state kept, word tree"


async def _asked(edge: Deployment, user: str = "alice-key") -> str:
    a = edge.instance("A", auth="keys")
    answer = await a.modern("tools/call", {"name": "remember", "arguments": {}}, key=user).whole()
    return answer.json["result"]["requestState"]


def _resumed(state: str, tool: str = "remember") -> dict[str, Any]:
    answers = {"word": {"action": "accept", "content": {"word": "tree"}}}
    return {"name": tool, "arguments": {}, "inputResponses": answers, "requestState": state}


@clause("modern.sealed-state")
async def test_a_state_that_was_changed_is_refused(edge: Deployment) -> None:
    state = await _asked(edge)
    changed = state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1]
    answer = await edge.instances[0].modern("tools/call", _resumed(changed), key="alice-key").whole()

    assert answer.status == 400
    assert answer.json["error"]["code"] == -32602


@clause("modern.sealed-state")
async def test_a_state_of_another_user_is_refused(edge: Deployment) -> None:
    state = await _asked(edge)
    answer = await edge.instances[0].modern("tools/call", _resumed(state), key="bob-key").whole()

    assert (answer.status, answer.json["error"]["code"]) == (400, -32602)


@clause("modern.sealed-state")
async def test_a_state_of_another_request_is_refused(edge: Deployment) -> None:
    state = await _asked(edge)
    params = {**_resumed(state), "arguments": {"other": 1}}
    answer = await edge.instances[0].modern("tools/call", params, key="alice-key").whole()

    assert (answer.status, answer.json["error"]["code"]) == (400, -32602)


@clause("modern.sealed-state")
async def test_a_state_is_good_for_as_long_as_its_question(edge: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", edge.clock)  # the sealed state has a time of its own
    states = [await _asked(edge) for _ in range(2)]
    a = edge.instances[0]
    edge.clock.advance(a.platform.settings.question_ttl_s)
    answered = await a.modern("tools/call", _resumed(states[0]), key="alice-key").whole()
    edge.clock.advance(GRACE_S + 1)
    late = await a.modern("tools/call", _resumed(states[1]), key="alice-key").whole()

    assert text(answered.json) == "state kept, word tree"
    assert (late.status, late.json["error"]["code"]) == (400, -32602)


@clause("modern.log-level")
async def test_log_messages_are_sent_only_to_a_request_that_asks_for_them(edge: Deployment) -> None:
    a = edge.instance("A")
    silent = await a.modern("tools/call", {"name": "say", "arguments": {}}).whole()
    meta = {"io.modelcontextprotocol/logLevel": "error"}
    loud = await a.modern("tools/call", {"name": "say", "arguments": {}}, meta=meta).messages()

    assert text(silent.json) == "said"
    assert [m["params"]["data"] for m in loud[:-1]] == ["error", "critical", "alert", "emergency"]


@clause("modern.dual-era")
@pytest.mark.parametrize("version", HANDSHAKE)
async def test_one_endpoint_serves_both_eras_at_once(edge: Deployment, version: str) -> None:
    a = edge.instance("A")
    session = await a.initialize(version)
    modern = await a.modern("tools/call", {"name": "echo", "arguments": {"text": "new"}}).whole()
    old = await session.call(a, "echo", {"text": "old"}).whole()

    assert (text(modern.json), text(old.json)) == ("new", "old")


@clause("modern.codes")
async def test_no_refusal_has_a_code_that_the_revision_does_not_define(edge: Deployment) -> None:
    a = edge.instance("A")
    refused = [
        a.modern("no/such"),
        a.modern("tools/call", {"name": "no_such"}),
        a.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}}, headers=[("mcp-param-x", "1")]),
        a.modern("resources/read", {"uri": "note://nowhere"}),
        a.modern("prompts/get", {"name": "no_such"}),
        a.modern("resources/read", {}),
        a.modern("tools/list", {"cursor": "no such"}),
        a.post(_echo(), _headers(mcp_name="x")),
        a.post(b"{"),
    ]
    codes = {(await call.whole()).json.get("error", {}).get("code") for call in refused}

    assert codes <= {None, -32020, -32600, -32601, -32602, -32603, -32700}
