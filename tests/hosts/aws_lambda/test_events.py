"""Function URL events under AWS's own runtime: bodies, cookies, limits, deadlines, and events that are no requests."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.support import lambda_artefact as artefact
from tests.support.cloudformation import Evaluated
from tests.support.function_url import DOMAIN, FunctionUrl, event
from tests.support.host import Reply
from tests.support.http_host import HttpHost
from tests.support.session import HostSession, text

from .conftest import Lambda, Mode

APP = "tests.hosts.aws_lambda.server:create_server"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
MODERN: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/list",
}
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}).encode()


@pytest.fixture(scope="module")
def buffered(function: Lambda) -> FunctionUrl:
    return function.deploy("buffered", app=APP)


def tools_of(answer: Any) -> list[str]:
    """The names in a whole answer to `LIST`."""
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False), answer
    return [tool["name"] for tool in json.loads(answer["body"])["result"]["tools"]]


def status(reply: Reply) -> int:
    """The status of an answer that is read to its end."""
    reply.whole()
    return reply.status


@pytest.mark.parametrize("binary", [False, True])
def test_a_body_may_be_text_or_base64(buffered: FunctionUrl, binary: bool) -> None:
    assert "clock" in tools_of(buffered.invoke(event("POST", "/mcp", HEADERS, LIST, binary=binary)))


def test_cookies_and_a_query_do_no_harm(buffered: FunctionUrl) -> None:
    found = buffered.invoke(event("POST", "/mcp", HEADERS, LIST, query="a=1&b=%20", cookies=["a=1", "b=2"]))
    assert "clock" in tools_of(found)


def test_bytes_that_are_no_json_are_a_bad_request(buffered: FunctionUrl) -> None:
    found = buffered.invoke(event("POST", "/mcp", HEADERS, b"\xff\xfe", binary=True))
    assert (found["statusCode"], json.loads(found["body"])["error"]["code"]) == (400, -32700)


def test_an_event_stream_comes_as_text(buffered: FunctionUrl) -> None:
    session = HostSession(HttpHost(buffered.url, streaming=False))
    message: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "clock", "arguments": {"times": 1, "pace_s": 0}, "_meta": {"progressToken": "p"}},
    }
    headers = {**HEADERS, **session.headers}
    found = buffered.invoke(event("POST", "/mcp", headers, json.dumps(message).encode()))
    assert (found["isBase64Encoded"], found["headers"]["content-type"]) == (False, "text/event-stream")
    assert found["body"].startswith("id: ")


def test_the_public_url_is_the_function_s_and_no_caller_s(buffered: FunctionUrl) -> None:
    """Its own domain is a good Host and Origin; what the caller writes is not."""
    assert "clock" in tools_of(buffered.invoke(event("POST", "/mcp", {**HEADERS, "origin": f"https://{DOMAIN}"}, LIST)))
    forged = event(
        "POST", "/mcp", {**HEADERS, "x-forwarded-host": "evil.example", "origin": "https://evil.example"}, LIST
    )
    assert buffered.invoke(forged)["statusCode"] == 403
    forged["headers"] |= {"host": "evil.example", "origin": f"https://{DOMAIN}"}
    assert buffered.invoke(forged)["statusCode"] == 421


def test_a_challenge_leaves_the_function_url_under_another_name(once: Lambda) -> None:
    front = once.deploy("buffered", count=1, settings={"auth": "keys", "keys": f"ada:{'0' * 64}"})
    request = urllib.request.Request(f"{front.url}/mcp", data=LIST, headers=HEADERS)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    with refused.value as answer:
        assert (answer.status, answer.headers["www-authenticate"]) == (401, None)
        assert answer.headers["x-amzn-remapped-www-authenticate"] == "Bearer"


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_a_request_of_6_mb_is_refused_before_it_gets_there(function: Lambda, mode: Mode) -> None:
    host = HttpHost(function.deploy(mode, count=1).url, streaming=False)
    headers = {**HEADERS, "content-type": "application/json"}
    assert status(host.send("POST", "/mcp", headers, b" " * (6 * 1024 * 1024 + 1))) == 413
    assert status(host.send("POST", "/mcp", headers, b" " * (5 * 1024 * 1024))) == 413  # MCP_MAX_BODY_BYTES: 4 MB


def test_a_buffered_answer_over_6_mb_is_a_clear_error_and_one_under_it_an_answer(once: Lambda) -> None:
    front = once.deploy("buffered", app=APP, count=1)
    session = HostSession(HttpHost(front.url, streaming=False))
    for length in (3 * 1024 * 1024, 7 * 1024 * 1024):  # a result says its text twice
        refused = session.call("long", length=length)
        assert (refused.status, "larger than the 6 MB" in json.loads(refused.whole())["error"]) == (500, True)
    assert "the answer is larger than 6 MB" in front.logs()
    most = 3 * 1024 * 1024 - 4096
    assert len(text(session.call("long", length=most))) == most
    assert front.errors == []


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_the_metrics_that_the_alarm_watches_are_written_before_the_environment_is_frozen(
    once: Lambda, mode: Mode
) -> None:
    front = once.deploy(mode, count=1)
    assert front.invoke(event("POST", "/mcp", HEADERS, LIST))["statusCode"] == 200
    call, metrics = (json.loads(line) for line in front.logs().splitlines())
    assert (call["message"], call["call"]["method"]) == ("call", "tools/list")
    alarm = Evaluated(artefact.template(), artefact.REGION).resource("DurationAlarm")
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert dimensions == {"service": {"Ref": "McpFunction"}, "outcome": "ok"}
    assert (metrics["service"], metrics["outcome"]) == ("mcp", "ok")  # the function's name, here
    (emitted,) = metrics["_aws"]["CloudWatchMetrics"]
    assert emitted["Namespace"] == alarm["Namespace"]
    assert [set(names) for names in emitted["Dimensions"]] == [set(dimensions)]
    assert alarm["MetricName"] in [metric["Name"] for metric in emitted["Metrics"]]


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_warmers_and_schedules_are_answered(function: Lambda, mode: Mode) -> None:
    front = function.deploy(mode, count=1)
    assert front.invoke({"source": "aws.events", "detail-type": "Scheduled Event"}) == {"status": "swept", "records": 0}
    others: list[Any] = [{"warmer": True}, {}, [], "ping", None, {"requestContext": {"elb": {}}}]
    # A WebSocket's event, and one that says less than any request.
    others += [{"requestContext": {"domainName": DOMAIN, "connectionId": "1"}}, {"requestContext": {"http": {}}}]
    for anything in others:
        assert front.invoke(anything) == {"status": "alive"}
    assert front.errors == []


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_a_call_that_outlives_the_deadline_leaves_its_environment_alive(once: Lambda, mode: Mode) -> None:
    front = once.deploy(mode, app=APP, count=1, timeout_s=4)
    modern: dict[str, Any] = {"name": "clock", "arguments": {"times": 1, "pace_s": 20}, "_meta": MODERN}
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": modern}).encode()
    host = HttpHost(front.url, streaming=mode == "streamed")
    reply = host.send("POST", "/mcp", {**HEADERS, "mcp-method": "tools/call", "mcp-name": "clock"}, call)
    assert status(reply) == (504 if mode == "buffered" else 200)
    assert status(host.send("POST", "/mcp", HEADERS, LIST)) == 200
    assert len(front.environments) == 1
    assert front.errors == []


def test_a_server_open_to_everybody_has_to_be_asked_for(once: Lambda) -> None:
    with pytest.raises(RuntimeError, match="--auth none would let everybody"):
        once.deploy("streamed", count=1, variables={"MCP_AUTH": ""})
