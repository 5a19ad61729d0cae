"""Streams of a Worker: events arrive as they are sent, and who waits stays within the free plan's 50 subrequests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.clients.conftest import APP
from tests.hosts.cloudflare.isolates import Isolates
from tests.support.host import BOTH, Reply
from tests.support.http_host import HttpHost

FREE_PLAN = 50
Headers = dict[str, str]


@pytest.fixture(scope="module")
def isolate() -> Iterator[Isolates]:
    """One isolate, in which a request gets no 51st answer."""
    with Isolates(app=APP, count=1) as running:
        yield running


def post(isolate: Isolates, message: dict[str, Any], headers: Headers) -> Reply:
    fields = {"content-type": "application/json", "accept": BOTH, **headers}
    return HttpHost(isolate.url, streaming=True).send("POST", "/mcp", fields, json.dumps(message).encode())


def call(isolate: Isolates, session: Headers, tool: str, **arguments: Any) -> Reply:
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
    return post(isolate, {"jsonrpc": "2.0", "id": tool, "method": "tools/call", "params": params}, session)


def resume(isolate: Isolates, session: Headers, last_event_id: str = "") -> Reply:
    last = {"last-event-id": last_event_id} if last_event_id else {}
    return HttpHost(isolate.url, streaming=True).send("GET", "/mcp", {"accept": BOTH, **session, **last}, b"")


def status(reply: Reply) -> int:
    """The status of an answer, which is read to its end."""
    reply.whole()
    return reply.status


@pytest.fixture
def session(isolate: Isolates) -> Headers:
    params: dict[str, Any] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "streams", "version": "1"},
    }
    reply = post(isolate, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}, {})
    assert status(reply) == 200
    return {"mcp-session-id": reply.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}


def test_an_event_arrives_while_its_call_waits_for_a_later_request(isolate: Isolates, session: Headers) -> None:
    reply = call(isolate, session, "wait", token="step")
    events = [reply.event(), reply.event()]
    assert [event and event["data"] and event["data"]["params"]["message"] for event in events] == ["", "waiting"]
    assert status(call(isolate, session, "release", token="step")) == 200
    assert [event["data"]["method"] for event in reply.events()[:1]] == ["notifications/progress"]


def test_a_standalone_stream_closes_within_its_budget_and_goes_on_in_the_next_request(
    isolate: Isolates, session: Headers
) -> None:
    isolate.control(0, "forget")
    held = resume(isolate, session)
    first = held.event()
    assert first is not None
    assert held.events() == []  # closed by the server
    assert isolate.control(0, "operations")["most"] <= FREE_PLAN
    assert status(call(isolate, session, "change", what="tools")) == 200
    told = [event["data"]["method"] for event in resume(isolate, session, first["id"]).events() if event["data"]]
    assert told == ["notifications/tools/list_changed"]


def test_a_user_may_take_longer_to_answer_than_one_request_may_wait(isolate: Isolates, session: Headers) -> None:
    isolate.control(0, "forget")
    reply = call(isolate, session, "confirm", action="delete")
    events = reply.events()  # until the server closes: nobody has answered
    question = next(e["data"] for e in events if e["data"] and e["data"].get("method") == "elicitation/create")
    assert isolate.control(0, "operations")["most"] <= FREE_PLAN
    with ThreadPoolExecutor() as pool:
        rest = pool.submit(lambda: resume(isolate, session, events[-1]["id"]).events())
        answer = {"action": "accept", "content": {"sure": True}}
        assert status(post(isolate, {"jsonrpc": "2.0", "id": question["id"], "result": answer}, session)) == 202
        final = rest.result(timeout=60)[-1]["data"]
    assert final["id"] == "confirm"
    assert final["result"]["content"][0]["text"] == "delete: True"
    assert isolate.control(0, "operations")["most"] <= FREE_PLAN
