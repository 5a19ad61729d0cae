"""Streams of the deployed artefact: events while a tool runs, clients that leave, deadlines, frozen environments."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.function_url import FunctionUrl
from tests.support.http_host import HttpHost
from tests.support.session import HostSession, text

from .conftest import Lambda, Mode

APP = "tests.hosts.aws_lambda.server:create_server"
DEADLINE_S = 30


@pytest.fixture(scope="module")
def front(function: Lambda) -> FunctionUrl:
    """The function with the usual timeout."""
    return function.deploy("streamed", app=APP)


@pytest.fixture
def short(once: Lambda) -> FunctionUrl:
    """The function with a timeout so short that streams run into it."""
    return once.deploy("streamed", app=APP, timeout_s=6)


def session_at(front: FunctionUrl) -> HostSession:
    """A new session."""
    return HostSession(HttpHost(front.url, streaming=True))


def pauses() -> Iterator[None]:
    """Go round until a test's deadline."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        yield
        time.sleep(0.01)  # a poll under a deadline
    raise AssertionError("it did not come to pass")


def test_events_arrive_while_the_tool_runs(front: FunctionUrl) -> None:
    session = session_at(front)
    late: list[float] = []
    for _ in range(3):  # the machine may be busy once
        reply = session.call("clock", times=4, pace_s=0.2)
        late = []
        while (event := reply.event()) is not None:
            if event["data"] and "method" in event["data"]:
                late.append(time.time() - float(event["data"]["params"]["message"]))
        assert len(late) == 4
        if max(late) < 0.1:
            break
    assert max(late) < 0.1


def test_environments_are_frozen_between_invocations_and_still_serve(front: FunctionUrl) -> None:
    session = session_at(front)
    pids = {text(session.call("clock", times=1, pace_s=0)) for _ in range(4)}
    assert pids == {str(environment.pid) for environment in front.environments[:2]}
    for _ in pauses():  # the one that answered last is about to ask for more
        if all(environment.frozen for environment in front.environments):
            break


def test_a_call_goes_on_when_its_client_has_gone_and_its_answer_waits(front: FunctionUrl) -> None:
    session = session_at(front)
    reply = session.call("clock", times=6, pace_s=0.1)
    first, second = reply.event(), reply.event()
    assert first is not None
    assert second is not None
    reply.lines.close()
    events = session.get(second["id"]).events()
    assert [event["data"]["params"]["progress"] for event in events[:-1]] == [2, 3, 4, 5, 6]
    assert "result" in events[-1]["data"]


def test_an_answer_larger_than_a_buffered_one_may_be_is_streamed(front: FunctionUrl) -> None:
    assert len(text(session_at(front).call("long", length=7 * 1024 * 1024))) == 7 * 1024 * 1024


def test_a_held_stream_ends_with_retry_before_the_deadline_and_goes_on_elsewhere(short: FunctionUrl) -> None:
    session = session_at(short)
    held = session.get()
    opened = held.event()
    assert opened is not None
    session.call("change").whole()
    changed = held.event()
    assert changed is not None
    assert changed["data"]["method"] == "notifications/tools/list_changed"
    assert b"retry: 500\n\n" in held.whole()
    session.call("change").whole()  # while nobody listens
    again = session.get(changed["id"])
    heard: list[Any] = [again.event(), again.event()]
    assert [event["data"] and event["data"]["method"] for event in heard] == [
        "",
        "notifications/tools/list_changed",
    ]
    assert not short.errors


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
@pytest.mark.parametrize(
    ("tool", "outcome"),
    # A buffered answer shows that a run has begun only when that one is over, too.
    [("wait_again", "[23]$"), ("wait_once", "The server was interrupted during this call")],
)
def test_a_call_that_outlives_the_deadline_ends_in_order(once: Lambda, mode: Mode, tool: str, outcome: str) -> None:
    """Its stream closes with an id before the deadline. Resumed, it is run again where that does no harm."""
    short = once.deploy(mode, app=APP, settings={"lease_s": "2"}, timeout_s=6)
    session = session_at(short)
    began = session.call(tool)
    last = began.events()[-1]
    assert (last["data"], last["retry"]) == ("", "500")
    for _ in pauses():
        resumed = session.get(last["id"])
        events = resumed.events()
        last = [event for event in events if "id" in event][-1]
        if any(event["data"] and event["data"].get("params", {}).get("progress") == 2 for event in events):
            text(session.call("release", id=2))
        if "id" in (last["data"] or ()):
            break
    message = last["data"]
    found = message["result"]["content"][0]["text"] if "result" in message else message["error"]["message"]
    assert re.match(outcome, found)
    assert not short.errors
    assert all(environment.alive for environment in short.environments)


@contextmanager
def role_credentials(token: str) -> Generator[tuple[str, list[str | None]]]:
    """Where a restored environment gets its role's credentials, and the authorization of each request for them."""
    asked: list[str | None] = []
    found = {"AccessKeyId": "test", "SecretAccessKey": "test", "Token": "t", "Expiration": "2100-01-01T00:00:00Z"}

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["authorization"])
            self.send_response(200 if asked[-1] == token else 403)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/2021-04-23/credentials", asked
        server.shutdown()


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_a_snapshot_holds_no_credentials_and_is_taken_before_the_first_invocation(once: Lambda, mode: Mode) -> None:
    with role_credentials("a token") as (url, asked):
        snapstart = {
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "AWS_ACCESS_KEY_ID": "",  # SnapStart gives no keys: they would be as old as the snapshot
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a token",
        }
        front = once.deploy(mode, app=APP, count=1, variables=snapstart)
        assert (front.environments[0].asked, asked) == (["restore/next", "next"], [])
        session = HostSession(HttpHost(front.url, streaming=mode == "streamed"))
        assert text(session.call("clock", times=1, pace_s=0)) == str(front.environments[0].pid)
        assert asked == ["a token"]
