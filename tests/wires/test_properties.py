"""Whatever bytes arrive, on whatever wire: never a 5xx, never a hang, JSON-RPC or nothing, and the next one is served.

All inputs of a test go to one deployment, one after the other, as a server meets them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.asgi import Answer, Call, Headers
from tests.support.deployment import BOTH, ENVELOPE, MODERN, Deployment, Session, request, text

INPUTS = pytest.mark.parametrize("inputs", [2_000, pytest.param(20_000, marks=pytest.mark.deep)])
"""Of all tests here together."""

# The deployment is shared on purpose: what one input leaves behind must not harm the next.
_SHARED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)

METHODS = (
    "initialize",
    "ping",
    "tools/list",
    "tools/call",
    "prompts/get",
    "prompts/list",
    "resources/read",
    "resources/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "resources/templates/list",
    "completion/complete",
    "logging/setLevel",
    "server/discover",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "tasks/get",
    "x",
)
TOOLS = (
    "echo",
    "add",
    "anything",
    "by_region",
    "count",
    "fail",
    "crash",
    "refuse",
    "picture",
    "surrogate",
    "say",
    "touch",
    "none",
)
KEYS = (
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "name",
    "arguments",
    "_meta",
    "uri",
    "level",
    "cursor",
    "ref",
    "argument",
    "value",
    "text",
    "type",
    "progressToken",
    "requestId",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "inputResponses",
    "requestState",
    "code",
    "message",
    *ENVELOPE,
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**53, 10**25, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["", "2.0", "\0", "\ud800", "é", "=?base64?eA==?=", "note://fixed", "note://one/%2e", *METHODS, *TOOLS, *KEYS]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=6)), inner, max_size=4),
    ),
    max_leaves=5,
)

VALID: tuple[dict[str, Any], ...] = (
    request("ping"),
    request("tools/list", {"cursor": "x"}),
    request("tools/call", {"name": "echo", "arguments": {"text": "x"}, "_meta": {"progressToken": 1}}),
    request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}),
    request("tools/call", {"name": "by_region", "arguments": {"region": "eu"}}),
    request("tools/call", {"name": "count", "arguments": {"to": 3}, "_meta": {"progressToken": "p"}}),
    request("prompts/get", {"name": "hello", "arguments": {"name": "Ann"}}),
    request("resources/read", {"uri": "note://one/1"}),
    request(
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "hello"}, "argument": {"name": "name", "value": ""}},
    ),
    request("logging/setLevel", {"level": "info"}),
    request("resources/subscribe", {"uri": "note://fixed"}),
    request(
        "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    ),
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
    {"jsonrpc": "2.0", "id": "x", "result": {"action": "accept"}},
    {"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": "no"}},
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    found: list[tuple[Any, ...]] = [path]
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            found += _places(inner, (*path, key))
    return found


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """A valid message with up to three places of it changed, removed or added; or any JSON at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(values)
    message: Any = json.loads(json.dumps(draw(st.sampled_from(VALID))))
    if draw(st.booleans()):  # the envelope of the newest revision; the others ignore it
        params = message.setdefault("params", {})
        params["_meta"] = {**json.loads(json.dumps(ENVELOPE)), **params.get("_meta", {})}
    for _ in range(draw(st.integers(0, 3))):
        places = [path for path in _places(message) if path]
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        inside: dict[str, Any] = message
        for key in path:
            inside = inside[key]
        match draw(st.integers(0, 3)):
            case 0:
                del inside[last]
            case 1:
                inside[draw(st.sampled_from(KEYS))] = draw(values)
            case _:
                inside[last] = draw(values)
    return [message] if draw(st.integers(0, 24)) == 0 else message


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """The bytes of a message, mostly whole; sometimes cut, doubled, or with foreign bytes in them."""
    raw = json.dumps(draw(mutants()), ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 11)):
        case 0:
            return raw[: draw(st.integers(0, len(raw)))]
        case 1:
            at = draw(st.integers(0, len(raw)))
            return raw[:at] + draw(st.binary(max_size=4)) + raw[at:]
        case 2:
            return draw(st.binary(max_size=40))
        case 3:
            depth = draw(st.integers(1, 400))
            return b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        case _:
            return raw


NAMES = (
    "accept",
    "content-type",
    "origin",
    "host",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "mcp-param-region",
    "last-event-id",
    "authorization",
    "content-length",
    "transfer-encoding",
    "cookie",
    "x-forwarded-host",
)
header_values = st.one_of(
    st.sampled_from(
        [
            "",
            "*/*",
            BOTH,
            "application/json",
            "text/event-stream",
            "localhost",
            "null",
            MODERN,
            "2025-11-25",
            "2025-03-26",
            "tools/call",
            "echo",
            "eu",
            "=?base64?ZWNobw==?=",
            "=?base64?!?=",
            "0",
            "-1",
            "99999999999999999999",
            "chunked",
            "q=0",
        ]
    ),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20),
)
odd_headers = st.lists(st.tuples(st.sampled_from(NAMES), header_values), max_size=3)


async def judged(call: Call) -> None:
    """Read the answer to its end and judge it."""
    await call.start()
    assert call.status < 500, call
    if call.headers.get("content-type") == "text/event-stream":
        for message in await call.messages():
            assert message["jsonrpc"] == "2.0"
            assert ("method" in message) != ("id" in message)
            assert "Internal error" not in str(message.get("error"))
        await call.gone()
        return
    answer = await call.whole()
    if answer.status in (202, 204):
        assert answer.body in (b"", b"Accepted")
        return
    told = answer.json
    for message in cast("list[Any]", told) if isinstance(told, list) else [told]:
        _is_a_response(answer, message)


def _is_a_response(answer: Answer, message: Any) -> None:
    assert message["jsonrpc"] == "2.0", answer
    assert ("result" in message) != ("error" in message), answer
    assert type(message["id"]) in (int, str, type(None)), answer
    if "error" in message:
        assert type(message["error"]["code"]) is int, answer
        assert message["error"]["message"], answer
        assert not message["error"]["message"].startswith("Internal error"), answer
    else:
        assert answer.status == 200


class Wires:
    """One instance with a client on each wire; every body goes to all of them."""

    COUNT = 4

    def __init__(self) -> None:
        self.edge = Deployment()
        self.at = self.edge.instance("A")
        self._sessions: list[Session] = []
        self._posted = 0

    async def open(self) -> None:
        self._sessions = [await self.at.initialize(version) for version in ("2025-03-26", "2025-11-25")]
        self._stream = self.at.send("GET", "/sse", [("accept", "text/event-stream")])
        event = await self._stream.event()
        assert event is not None
        self._path = event.data
        params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        await self.at.post(request("initialize", params), path=self._path).whole()
        await self._stream.message()

    async def post(self, body: bytes, odd: Headers) -> None:
        await judged(self.at.post(body, [("mcp-protocol-version", MODERN), *_named(body), *odd]))
        for session in self._sessions:
            await judged(self.at.post(body, [*session.headers, *odd]))
        await judged(self.at.post(body, odd, path=self._path))
        self._posted += 1
        if self._posted % 30 == 0:
            await self.serve()
        self.edge.clock.advance(0.001)
        self.at.calls = [call for call in self.at.calls if not call.task.done()]

    async def serve(self) -> None:
        """Every client is still served."""
        call = {"name": "echo", "arguments": {"text": "on"}}
        assert text((await self.at.modern("tools/call", call).whole()).json) == "on"
        for session in self._sessions:
            assert text((await session.call(self.at, "echo", {"text": "on"}).whole()).json) == "on"
        marker = request("tools/call", call, id="the marker")
        assert (await self.at.post(marker, path=self._path).whole()).status == 202
        while (message := await self._stream.message()).get("id") != "the marker":
            assert message["jsonrpc"] == "2.0"
        assert text(message) == "on"


@INPUTS
@pytest.mark.timeout(300)
def test_any_body_on_any_wire_has_an_answer_and_the_next_request_is_served(inputs: int) -> None:
    with asyncio.Runner() as runner:
        wires = Wires()
        runner.run(wires.open())

        @settings(max_examples=int(inputs * 0.9) // Wires.COUNT, suppress_health_check=_SHARED)
        @given(bodies(), odd_headers)
        def check(body: bytes, odd: Headers) -> None:
            runner.run(wires.post(body, odd))

        check()
        runner.run(wires.serve())
        runner.run(wires.edge.close())


@INPUTS
@pytest.mark.timeout(300)
def test_any_request_line_and_headers_have_an_answer(inputs: int) -> None:
    with asyncio.Runner() as runner:
        edge = Deployment()
        a = edge.instance("A", auth="keys")
        session: Session = runner.run(a.initialize(key="alice-key"))
        methods = st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "PUT", "HEAD", "X"])
        paths = st.sampled_from(
            ["/mcp", "/sse", "/messages", "/healthz", "/readyz", "/", "/mcp/", "/messages?session_id=x", "/é"]
        )
        known = st.sampled_from([[], session.headers, session.headers[-1:], [("host", "localhost"), *session.headers]])

        @settings(max_examples=inputs // 10, suppress_health_check=_SHARED)
        @given(
            methods,
            paths,
            known,
            st.lists(st.tuples(st.sampled_from(NAMES), header_values), max_size=5),
            bodies(),
        )
        def check(
            method: str, path: str, fields: list[tuple[str, str]], odd: list[tuple[str, str]], body: bytes
        ) -> None:
            runner.run(answered(method, path, [*fields, *odd], body))
            a.calls.clear()

        async def answered(method: str, path: str, fields: Headers, body: bytes) -> None:
            call = await a.send(method, path, fields, body, host=None).start()
            assert call.status < 500, call
            if call.headers.get("content-type") == "text/event-stream":
                await call.disconnect()
                await call.gone()
            else:
                await call.whole()

        check()
        runner.run(edge.close())


def _named(body: bytes) -> Headers:
    """The headers that a well-behaved client would send with the body, as far as it can be read."""
    try:
        message: Any = json.loads(body)
        params = message["params"]
        named = [("mcp-method", message["method"]), ("mcp-name", params.get("name", params.get("uri")))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return [(name, value) for name, value in named if isinstance(value, str) and value.isascii()]
