"""The streaming runtime loop before any ASGI app: what it tells the Runtime API, and when.

Here nobody freezes it: app and Runtime API share one event loop, so each test decides who goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from mcp_edge.hosts.aws_lambda import streaming
from mcp_edge.hosts.aws_lambda.environment import Environment as Served
from mcp_edge.hosts.aws_lambda.runtime_api import RuntimeApi
from mcp_edge.telemetry.powertools import PowertoolsSink
from my_server.server import create_server
from tests.support.function_url import event
from tests.support.lambda_runtime import Environment, Invocation, Part

pytestmark = pytest.mark.anyio

App = Callable[[Scope, Receive, Send], Awaitable[None]]
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
GET = event("GET", "/mcp", {})


class Anything:
    """Stands for the environment: it serves `app` and has one answer to other events."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def other(self, event: Any) -> dict[str, Any]:
        return {"got": event}


class Unheard:
    """Stands for the telemetry."""

    def invocation(self, request_id: str) -> None:
        """Nobody hears it."""


@asynccontextmanager
async def serving(app: App) -> AsyncGenerator[Environment]:
    """The loop over `app`, waiting for its first invocation."""
    lambda_ = Environment()
    api = RuntimeApi(await lambda_.listen())
    task = asyncio.create_task(streaming.serve(cast("Served", Anything(app)), cast("PowertoolsSink", Unheard()), api))
    await lambda_.ready(10)
    try:
        async with asyncio.timeout(20):
            yield lambda_
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        api.drop()
        await lambda_.close()


async def invoke(lambda_: Environment, what: Any = GET, *, timeout_s: float = 10) -> Invocation:
    """Begin an invocation."""
    invocation = Invocation(what, timeout_s)
    await lambda_.invoke(invocation)
    return invocation


async def parts(invocation: Invocation) -> list[Part]:
    """All that it answers, neighbouring data joined."""
    found: list[Part] = []
    while not found or found[-1][0] in ("start", "data"):
        kind, value = await invocation.parts.get()
        if kind == "data" and found and found[-1][0] == "data":
            found[-1] = ("data", found[-1][1] + value)
        else:
            found.append((kind, value))
    return found


async def test_bytes_leave_while_the_app_still_runs() -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"two", "more_body": False})

    async with serving(app) as lambda_:
        invocation = await invoke(lambda_)
        head: dict[str, Any] = {
            "statusCode": 200,
            "headers": {"content-type": "text/event-stream"},
            "cookies": [],
        }
        assert await invocation.parts.get() == ("start", head)
        assert await invocation.parts.get() == ("data", b":\n")
        assert await invocation.parts.get() == ("data", b"one")
        go_on.set()
        assert await parts(invocation) == [("data", b":\ntwo"), ("end", None)]
        await lambda_.ready(5)
        assert lambda_.asked == ["next", "response", "next"]
        assert lambda_.connections == 2  # as Lambda's guide says, a streamed response ends its connection


async def test_the_head_of_an_event_stream_leaves_before_there_is_an_event() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]})
        await asyncio.Event().wait()

    async with serving(app) as lambda_:
        kind, _ = await (await invoke(lambda_)).parts.get()
        assert kind == "start"


async def test_the_app_gets_the_request_and_then_the_end_of_the_response() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope["method"], scope["path"], scope["query_string"], dict(scope["headers"])[b"cookie"]])
        seen.append(await receive())
        await send(START)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        seen.append(await receive())

    async with serving(app) as lambda_:
        posted = event("POST", "/a b", {}, b"\xff\x00", query="x=1", cookies=["a=1", "b=2"], binary=True)
        assert await parts(await invoke(lambda_, posted)) == [
            ("start", {"statusCode": 200, "headers": {}, "cookies": []}),
            ("data", b"\n"),
            ("end", None),
        ]
        await lambda_.ready(5)
    assert seen == [
        *("POST", "/a b", b"x=1", b"a=1; b=2"),
        {"type": "http.request", "body": b"\xff\x00", "more_body": False},
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize(("method", "status", "body"), [("GET", 202, b"\n"), ("GET", 204, b""), ("HEAD", 200, b"")])
async def test_a_response_is_not_empty_where_it_may_have_a_body(method: str, status: int, body: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app) as lambda_:
        start: Part = ("start", {"statusCode": status, "headers": {}, "cookies": []})
        data: list[Part] = [("data", body)] if body else []
        assert await parts(await invoke(lambda_, event(method, "/mcp", {}))) == [start, *data, ("end", None)]


async def test_cookies_leave_the_headers_and_repeated_headers_are_joined() -> None:
    headers = [(b"Set-Cookie", b"a=1"), (b"vary", b"Origin"), (b"set-cookie", b"b=2"), (b"Vary", b"Accept")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app) as lambda_:
        head = {"statusCode": 200, "headers": {"vary": "Origin, Accept"}, "cookies": ["a=1", "b=2"]}
        assert (await parts(await invoke(lambda_)))[0] == ("start", head)


async def test_a_bug_before_the_first_byte_is_the_invocation_s_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a bug")

    async with serving(app) as lambda_:
        [(kind, error)] = await parts(await invoke(lambda_))
        assert (kind, error["errorType"], error["errorMessage"]) == ("error", "ZeroDivisionError", "a bug")
        await lambda_.ready(5)
        assert lambda_.asked == ["next", "error", "next"]
    assert [record.levelname for record in caplog.records if record.name == streaming.__name__] == ["ERROR"]


async def test_a_bug_after_the_first_byte_is_told_in_the_trailers_and_the_next_invocation_served() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if scope["path"] == "/bug":
            raise ZeroDivisionError("a bug")
        await send({"type": "http.response.body", "body": b" and half"})

    async with serving(app) as lambda_:
        _, data, (kind, error) = await parts(await invoke(lambda_, event("GET", "/bug", {})))
        assert (data, kind, error["errorType"]) == (("data", b"half"), "error", "ZeroDivisionError")
        await lambda_.ready(5)
        assert (await parts(await invoke(lambda_)))[1:] == [("data", b"half and half"), ("end", None)]


async def test_a_response_that_the_app_leaves_unfinished_is_an_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/half":
            await send(START)

    async with serving(app) as lambda_:
        for path, kinds in (("/half", ["start", "error"]), ("/none", ["error"])):
            found = await parts(await invoke(lambda_, event("GET", path, {})))
            assert [kind for kind, _ in found] == kinds
            assert found[-1][1]["errorMessage"] == "The app did not finish its response."
            await lambda_.ready(5)


async def test_the_app_waits_while_lambda_takes_nothing_more() -> None:
    sent = 0
    chunk = bytes(64 * 1024)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for _ in range(1000):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            sent += len(chunk)
        await send({"type": "http.response.body", "body": b""})

    async with serving(app) as lambda_:
        invocation = await invoke(lambda_)
        taken = ahead = 0
        while (part := await invocation.parts.get())[0] != "end":
            taken += len(part[1]) if part[0] == "data" else 0
            ahead = max(ahead, sent - taken)
        assert taken == 1000 * len(chunk)
        assert ahead < 16 * 1024 * 1024  # what the buffers of two sockets hold


async def test_a_response_that_nobody_takes_is_dropped_at_the_deadline_and_the_next_invocation_served() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while scope["path"] == "/flood":
            await send({"type": "http.response.body", "body": bytes(1024 * 1024), "more_body": True})
        await send({"type": "http.response.body", "body": b"fine"})

    async with serving(app) as lambda_:
        await invoke(lambda_, event("GET", "/flood", {}), timeout_s=1)
        await lambda_.ready(10)
        assert (await parts(await invoke(lambda_)))[1:] == [("data", b"fine"), ("end", None)]


async def test_an_event_that_is_no_request_gets_an_answer_in_one_piece() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    async with serving(app) as lambda_:
        assert await parts(await invoke(lambda_, {"source": "aws.events"})) == [
            ("answer", {"got": {"source": "aws.events"}})
        ]


async def test_settings_that_cannot_work_are_told_as_an_init_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_ = Environment()
    address = await lambda_.listen()

    def unusable(variables: object) -> None:
        raise ValueError("MCP_STORE is wrong")

    monkeypatch.setattr(streaming, "PowertoolsSink", unusable)
    with pytest.raises(ValueError, match="MCP_STORE"):
        await streaming.run(create_server, {"AWS_LAMBDA_RUNTIME_API": address})
    assert (lambda_.asked, lambda_.init_error["errorMessage"]) == (["init/error"], "MCP_STORE is wrong")
    await lambda_.close()
