"""What a caller sends in great numbers or at great length comes back small, is stored small, or not at all."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import Message
from pydantic import BaseModel, Field, Json

from mcp_edge.app import create_app
from mcp_edge.protocol.bounds import MAX_NAME_CHARS, MAX_URI_CHARS, MOST_PARAMETERS, MOST_VALUES, too_many_values
from mcp_edge.sdk.arguments import MAX_ERROR_CHARS, MOST_ERRORS
from mcp_edge.settings import Settings
from mcp_edge.tools.current import changes_bus
from tests.support.asgi import Call
from tests.support.deployment import ENVELOPE, MODERN, Deployment, Instance, Session, notification, request, text

pytestmark = pytest.mark.anyio

MB = 1_000_000
SMALL = 8192
"""Bytes of a small answer: the longest error, escaped, and what is around it."""
ROOM = 60 * MB
"""What a call may take at most while it is refused; its body of 4 MB is in it several times over."""
WIRES = pytest.mark.parametrize("wire", ["modern", "handshake", "sse"])


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: int


class Form(BaseModel):
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int


class Box(BaseModel):
    kind: Literal["box"]
    sides: list[int]
    forms: dict[str, Form] = {}


Shape = Annotated[Circle | Box, Field(discriminator="kind")]


def create_server(_: Settings) -> MCPServer[Any]:
    server = MCPServer("bounds", subscriptions=changes_bus())

    @server.tool(structured_output=False)
    def collect(
        tags: list[str] = [],  # noqa: B006 # a default that is not written to
        mixed: list[int | float | Form] = [],  # noqa: B006
        shapes: list[Shape] = [],  # noqa: B006
        lists: dict[str, list[str]] = {},  # noqa: B006
        text: str = "",
        maybe: str | None = None,
        anything: Any = None,
        one: Literal["red", "green"] = "red",
    ) -> str:
        """Takes what schemas have."""
        kinds = type(maybe).__name__, type(anything).__name__
        return f"{len(tags)} {len(mixed)} {len(shapes)} {len(lists)} {len(text)} {' '.join(kinds)}"

    @server.prompt()
    def summary(numbers: Json[list[int]]) -> list[Message]:
        """Has an argument that is JSON."""
        return [Message(role="user", content=str(len(numbers)))]

    @server.resource("note://fixed")
    def fixed() -> str:
        return "fixed"

    @server.resource("note://one/{id}")
    def one(id: str) -> str:
        return id

    return server


class Bounded(Deployment):
    """Instances of this file's server."""

    def instance(self, name: str, platform: dict[str, Any] | None = None, **settings: Any) -> Instance:
        instance = super().instance(name, platform, **settings)
        instance.app = create_app(create_server, instance.platform)
        return instance


@pytest.fixture
async def edge() -> AsyncIterator[Bounded]:
    deployment = Bounded()
    yield deployment
    await deployment.close()


class Client:
    """A client of one wire, which sends requests and sees how many bytes come back."""

    def __init__(self, wire: str, edge: Bounded) -> None:
        self.wire = wire
        self.edge = edge
        self.at = edge.instance("A")
        self.session: Session | None = None
        self.stream: Call | None = None
        self.path = "/mcp"

    async def open(self) -> Client:
        if self.wire == "handshake":
            self.session = await self.at.initialize()
        elif self.wire == "sse":
            self.stream = self.at.send("GET", "/sse", [("accept", "text/event-stream")])
            event = await self.stream.event()
            assert event is not None
            self.path = event.data
            params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            assert (await self.at.post(request("initialize", params), path=self.path).whole()).status == 202
            await self.stream.message()
        return self

    async def send(self, message: dict[str, Any] | bytes) -> tuple[int, bytes]:
        """The status, and the response to it, wherever that is."""
        headers = self.session.headers if self.session else []
        if self.wire == "modern" and not isinstance(message, bytes):
            given: dict[str, Any] = message.get("params") or {}
            message["params"] = {**given, "_meta": {**ENVELOPE, **given.get("_meta", {})}}
            method: str = message.get("method", "x")
            name = given.get("uri" if method == "resources/read" else "name")
            headers = [("mcp-protocol-version", MODERN), ("mcp-method", method[:60_000])]
            headers += [("mcp-name", name[:60_000])] if isinstance(name, str) else []
        answer = await self.at.post(message, headers, path=self.path).whole()
        if self.stream is not None and answer.status == 202:
            event = await self.stream.event()
            assert event is not None
            return 200, event.data.encode()
        return answer.status, answer.body

    async def call(self, **arguments: Any) -> bytes:
        status, body = await self.send(request("tools/call", {"name": "collect", "arguments": arguments}))
        assert status in (200, 400, 413)
        return body

    async def works(self) -> bool:
        return text(json.loads(await self.call(tags=["a"]))).startswith("1 ")


# -- arguments ---------------------------------------------------------------------------------------------------------

WRONG: dict[str, Any] = {
    "items": {"tags": [1] * 90_000},
    "unions": {"mixed": [{}] * 90_000},
    "nested": {"shapes": [{"kind": "box", "sides": ["x"] * 90_000}]},
    "forms": {"shapes": [{"kind": "box", "sides": [], "forms": {str(n): {} for n in range(40_000)}}]},
    "members": {"lists": {str(n): 1 for n in range(90_000)}},
    "tags of a union": {"shapes": [{"kind": str(n)} for n in range(40_000)]},
    "a long tag of a union": {"shapes": [{"kind": "k" * 3 * MB}]},
    "a long text": {"one": "x" * 3 * MB},
    "a long text for a number": {"mixed": ["x" * 3 * MB]},
    "a few in a long member": {"lists": {"k" * 3 * MB: [1] * 100}},
    "many in a member of some length": {"lists": {"k" * 8000: [1] * 190}},
    "JSON in a text": {"tags": json.dumps([1] * 90_000)},
    "a little JSON in a text": {"tags": json.dumps([1] * 190)},
    "much JSON in a text": {"tags": json.dumps([1] * MB)},
    "much deep JSON in a text": {"anything": "[[1],[2]," + "[]," * MB + "1]"},
    "JSON of NaN in a text": {"tags": " [" + "NaN," * 900_000 + "NaN]"},
    "thirty": {"tags": [1] * 30},
    "twelve": {"tags": [1] * 12},
    "long words": {"lists": {"k" * 900: {"k" * 900: 1}, "l" * 900: {"k": 1}, "m" * 900: 1, "n" * 900: 1, "o" * 900: 1}},
}


@WIRES
@pytest.mark.parametrize("kind", WRONG)
async def test_what_is_said_of_wrong_arguments_is_short(edge: Bounded, wire: str, kind: str) -> None:
    client = await Client(wire, edge).open()
    await client.works()
    tracemalloc.start()
    body = await client.call(**WRONG[kind])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(body) < SMALL
    answer = json.loads(body)
    said = text(answer) if "result" in answer else answer["error"]["message"]
    assert "result" not in answer or answer["result"]["isError"] is True
    assert len(said) <= MAX_ERROR_CHARS + 100
    assert said.count("[type=") <= MOST_ERRORS
    assert peak < ROOM
    assert await client.works()


@WIRES
async def test_few_errors_are_what_the_sdk_says_of_them(edge: Bounded, wire: str) -> None:
    client = await Client(wire, edge).open()
    for wrong in (
        {"tags": [1]},
        {"tags": 1, "one": "blue"},
        {"mixed": [{"a": "x", "b": 1}]},
        {"tags": [1] * MOST_ERRORS},
    ):
        with pytest.raises(ToolError) as raised:
            await create_server(Settings()).call_tool("collect", wrong)
        assert text(json.loads(await client.call(**wrong))) == str(raised.value)


@WIRES
async def test_large_right_arguments_reach_the_tool(edge: Bounded, wire: str) -> None:
    client = await Client(wire, edge).open()
    right: list[tuple[dict[str, Any], str]] = [
        ({"tags": ["a"] * 90_000}, "90000 0 0 0 0 NoneType NoneType"),
        ({"text": ", [x] {y}" * 400_000}, "0 0 0 0 3600000 NoneType NoneType"),
        ({"text": '","' * 600_000}, "0 0 0 0 1800000 NoneType NoneType"),
        ({"maybe": "[2026-01-01] a, b, c\n" * 150_000}, "0 0 0 0 0 str NoneType"),
        ({"maybe": "\n, hello" * 400_000}, "0 0 0 0 0 str NoneType"),
        ({"text": json.dumps([1] * MB)}, "0 0 0 0 3000000 NoneType NoneType"),
        ({"anything": json.dumps(["x"] * 300)}, "0 0 0 0 0 NoneType list"),
        ({"tags": json.dumps(["x"] * 300)}, "300 0 0 0 0 NoneType NoneType"),
        ({"lists": {str(n): ["x"] for n in range(30_000)}}, "0 0 0 30000 0 NoneType NoneType"),
        ({"mixed": [dict.fromkeys("abcdefgh", 1)] * 5000}, "0 5000 0 0 0 NoneType NoneType"),
    ]
    for arguments, said in right:
        assert text(json.loads(await client.call(**arguments))) == said


# -- the number of values ----------------------------------------------------------------------------------------------


@WIRES
@pytest.mark.parametrize(
    "value",
    [
        b"[" + b"1," * MOST_VALUES + b"1]",
        b"[" + b"[]," * MOST_VALUES + b"1]",
        b"[" + b'"",' * MOST_VALUES + b'""]',
        b"[" + b"{ }, " * MOST_VALUES + b"1]",
        b"{" + b",".join(b'"k":1' for _ in range(MOST_VALUES)) + b"}",
        b'["\\\\",' + b'"\\"",' * MOST_VALUES + b"1]",
    ],
    ids=["numbers", "arrays", "texts", "objects", "duplicates", "escapes"],
)
async def test_a_body_of_too_many_values_is_refused(edge: Bounded, wire: str, value: bytes) -> None:
    client = await Client(wire, edge).open()
    before = await edge.atomics.read("", limit=1000)
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"collect","arguments":{"anything":%b}}}'
    tracemalloc.start()
    status, answer = await client.send(body % value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (status, json.loads(answer)["error"]["code"]) == (413, -32600)
    assert str(MOST_VALUES) in json.loads(answer)["error"]["message"]
    assert peak < ROOM
    assert await edge.atomics.read("", limit=1000) == before
    assert await client.works()


async def test_a_batch_holds_no_more_values_than_one_message(edge: Bounded) -> None:
    a = edge.instance("A")
    session = await a.initialize("2025-03-26")
    one = request("tools/call", {"name": "collect", "arguments": {"tags": ["a"] * 3000}})
    many = await session.post(a, [{**one, "id": n} for n in range(40)]).whole()
    fewer = await session.post(a, [{**one, "id": n} for n in range(30)]).whole()

    assert (many.status, many.json["error"]["code"]) == (413, -32600)
    assert [text(each)[:4] for each in fewer.json] == ["3000"] * 30


async def test_the_answer_to_a_batch_of_wrong_calls_is_short(edge: Bounded) -> None:
    a = edge.instance("A")
    session = await a.initialize("2025-03-26")
    one = request("tools/call", {"name": "collect", "arguments": {"mixed": [{}] * 400}})
    answer = await session.post(a, [{**one, "id": n} for n in range(64)]).whole()

    assert len(answer.json) == 64
    assert len(answer.body) < 64 * SMALL


COUNTED: list[tuple[Any, bool]] = [
    ([1] * (MOST_VALUES - 1), False),
    ([1] * MOST_VALUES, True),
    ([[]] * (MOST_VALUES - 1), False),
    ([{"a": [1, {}]}] * (MOST_VALUES // 4), True),
    (["[,{" * 40] * 4000, False),
    (['\\"],[{'] * (MOST_VALUES - 1), False),
    ({str(n): {"[": "]"} for n in range(MOST_VALUES // 2 - 1)}, False),
    ({str(n): {"[": "]"} for n in range(MOST_VALUES // 2 + 1)}, True),
]


@pytest.mark.parametrize(("value", "too_many"), COUNTED, ids=range(len(COUNTED)))
def test_values_are_counted_exactly(value: Any, too_many: bool) -> None:
    for indent in (None, 1):
        assert too_many_values(json.dumps(value, indent=indent).encode()) is too_many


# -- everything else ---------------------------------------------------------------------------------------------------


def ref(kind: str, name: str) -> dict[str, Any]:
    return {
        "ref": {"type": f"ref/{kind}", "name" if kind == "prompt" else "uri": name},
        "argument": {"name": "a", "value": ""},
    }


LONG = "x" * MB
REFUSED: dict[str, dict[str, Any]] = {
    "tool": request("tools/call", {"name": LONG, "arguments": {}}),
    "a tool of some length": request("tools/call", {"name": "x" * (MAX_NAME_CHARS + 1), "arguments": {}}),
    "prompt": request("prompts/get", {"name": LONG}),
    "resource": request("resources/read", {"uri": f"note://one/{LONG}"}),
    "unknown resource": request("resources/read", {"uri": "x" * (MAX_URI_CHARS + 1)}),
    "subscription": request("resources/subscribe", {"uri": f"note://one/{LONG}"}),
    "end of a subscription": request("resources/unsubscribe", {"uri": f"note://one/{LONG}"}),
    "completion of a prompt": request("completion/complete", ref("prompt", LONG)),
    "completion of a resource": request("completion/complete", ref("resource", LONG)),
    "completion's argument": request(
        "completion/complete", {**ref("prompt", "summary"), "argument": {"name": LONG, "value": ""}}
    ),
    "completion's context": request(
        "completion/complete",
        {**ref("prompt", "summary"), "context": {"arguments": {str(n): 1 for n in range(50_000)}}},
    ),
    "cursor": request("tools/list", {"cursor": LONG}),
    "method": request(LONG),
    "id": request("ping", id=LONG),
    "token": request("ping", {"_meta": {"progressToken": LONG}}),
    "version": request("ping", {"_meta": {"io.modelcontextprotocol/protocolVersion": LONG}}),
    "meta": request("ping", {"_meta": {"x": [1] * 50_000}}),
    "a member of meta": request("ping", {"_meta": {LONG: 1}}),
    "prompt's arguments": request(
        "prompts/get", {"name": "summary", "arguments": {str(n): "x" for n in range(50_000)}}
    ),
    "prompt's JSON": request("prompts/get", {"name": "summary", "arguments": {"numbers": json.dumps(["x"] * 200_000)}}),
    "prompt's argument": request("prompts/get", {"name": "summary", "arguments": {"numbers": "[]", LONG: "x"}}),
    "input responses": request(
        "tools/call", {"name": "collect", "arguments": {}, "inputResponses": {str(n): {} for n in range(50_000)}}
    ),
    "an input response": request(
        "tools/call",
        {
            "name": "collect",
            "arguments": {},
            "inputResponses": {"a": {"action": "accept", "content": {LONG: [1] * 4000}}},
        },
    ),
    "request state": request("tools/call", {"name": "collect", "arguments": {}, "requestState": LONG * 3}),
    "log level": request("logging/setLevel", {"level": LONG}),
    "listened to": request(
        "subscriptions/listen", {"notifications": {"resourceSubscriptions": [f"note://one/{n}" for n in range(257)]}}
    ),
    "a long one listened to": request(
        "subscriptions/listen", {"notifications": {"resourceSubscriptions": ["note://one/" + "x" * 2048]}}
    ),
}


@WIRES
@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_named_at_length_or_in_numbers_is_not_repeated(edge: Bounded, wire: str, kind: str) -> None:
    client = await Client(wire, edge).open()
    await client.works()
    tracemalloc.start()
    status, body = await client.send(json.loads(json.dumps(REFUSED[kind])))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert status in (200, 400, 404, 413)
    assert len(body) < SMALL
    handshake_state = kind in ("input responses", "an input response", "request state") and wire != "modern"
    assert "error" in json.loads(body) or (handshake_state and status == 200)  # which older revisions do not know
    assert peak < ROOM
    assert await client.works()


TOKENS = {"text": "t" * 257, "non-ASCII text": "\N{GRINNING FACE}" * 257, "a number": 10**310, "long": "t" * 8000}


@pytest.mark.parametrize("wire", ["modern", "handshake", "sse", "batch"])
@pytest.mark.parametrize("kind", TOKENS)
async def test_a_long_progress_token_is_refused(edge: Bounded, wire: str, kind: str) -> None:
    message = request("ping", {"_meta": {"progressToken": TOKENS[kind]}})
    if wire == "batch":
        a = edge.instance("A")
        session = await a.initialize("2025-03-26")
        answer = await session.post(a, [message]).whole()
        status, body = answer.status, answer.body
    else:
        status, body = await (await Client(wire, edge).open()).send(message)

    assert (status, json.loads(body)["error"]["code"]) == (400, -32602)
    assert json.loads(body)["error"]["message"] == '"progressToken" is over 256 characters.'


@WIRES
async def test_names_of_a_usual_length_are_served(edge: Bounded, wire: str) -> None:
    client = await Client(wire, edge).open()
    uri = "note://one/" + "x" * 8000
    _, read = await client.send(request("resources/read", {"uri": uri}))
    _, listed = await client.send(request("tools/list", {"_meta": {"progressToken": "t" * 256}}, id="i" * 2000))
    _, asked = await client.send(request("prompts/get", {"name": "summary", "arguments": {"numbers": "[1,2]"}}))

    assert json.loads(read)["result"]["contents"][0]["text"] == "x" * 8000
    assert json.loads(listed)["id"] == "i" * 2000
    assert json.loads(asked)["result"]["messages"][0]["content"]["text"] == "2"


@pytest.mark.parametrize("wire", ["modern", "handshake", "sse"])
@pytest.mark.parametrize("kind", ["icons", "name", "version", "capabilities"])
async def test_a_client_that_says_too_much_of_itself_is_refused(edge: Bounded, wire: str, kind: str) -> None:
    a = edge.instance("A")
    await a.modern("tools/list").whole()
    who: dict[str, Any] = {"name": "t", "version": "1"}
    able: dict[str, Any] = {}
    if kind == "icons":
        who["icons"] = [{"src": "https://x.example/" + "i" * 40}] * 2000
    elif kind == "capabilities":
        able = {"experimental": {str(n): {} for n in range(4000)}, "x": {"y": LONG}}
    else:
        who[kind] = LONG
    stored = len(await edge.records.list("", limit=1000))
    if wire == "modern":
        said = {"io.modelcontextprotocol/clientInfo": who, "io.modelcontextprotocol/clientCapabilities": able}
        answer = await a.modern("tools/list", meta=said).whole()
        body = answer.body
    else:
        client = Client(wire, edge)
        if wire == "sse":
            await client.open()  # a session as every other; the second `initialize` would replace what it says
            stored = len(await edge.records.list("", limit=1000))
        opening = {"protocolVersion": "2024-11-05", "capabilities": able, "clientInfo": who}
        _, body = await client.send(request("initialize", opening))

    assert json.loads(body)["error"]["code"] == -32602
    assert len(body) < SMALL
    assert len(await edge.records.list("", limit=1000)) == stored


async def test_an_answer_to_a_question_holds_no_more_than_a_request(edge: Bounded) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    for result in ({"content": {str(n): [1] for n in range(5000)}}, {"content": {LONG: 1}}):
        answer = await session.answer(a, "x." + "0" * 24, result)
        assert (answer.status, answer.json["error"]["code"]) == (400, -32602)
        assert str(MOST_PARAMETERS) in answer.json["error"]["message"]


async def test_a_notification_of_any_length_is_answered_shortly_and_stored_not_at_all(edge: Bounded) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    stored = await edge.atomics.read("", limit=1000)
    for params in ({"requestId": LONG}, {"progressToken": LONG, "progress": 1}, {"_meta": {"x": [1] * 50_000}}):
        answer = await session.post(a, notification("notifications/cancelled", params)).whole()
        assert answer.status in (202, 400)
        assert len(answer.body) < SMALL
    assert await edge.atomics.read("", limit=1000) == stored


@pytest.mark.parametrize(
    ("name", "value"),
    [("last-event-id", "x." * 30_000), ("mcp-session-id", "x" * 60_000), ("accept", "text/event-stream," * 3000)],
)
async def test_a_long_header_is_answered_shortly(edge: Bounded, name: str, value: str) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    fields = {**dict(session.headers), "accept": "text/event-stream", name: value}
    answer = await a.send("GET", "/mcp", [*fields.items()]).whole()

    assert answer.status in (400, 404, 406)
    assert len(answer.body) < 1024


async def test_a_preflight_repeats_no_long_header(edge: Bounded) -> None:
    a = edge.instance("A")
    fields = [("origin", "http://localhost:1"), ("access-control-request-headers", "x-a," * 10_000)]
    answer = await a.send("OPTIONS", "/mcp", fields).whole()
    usual = await a.send("OPTIONS", "/mcp", [*fields[:1], ("access-control-request-headers", "mcp-method")]).whole()

    assert answer.headers["access-control-allow-headers"] == "*"
    assert usual.headers["access-control-allow-headers"] == "mcp-method"


async def test_what_non_ascii_text_costs_in_the_store_is_what_it_costs_on_the_wire(edge: Bounded) -> None:
    a = edge.instance("A")
    who = {"name": "\N{GRINNING FACE}" * 10_000, "version": "1"}
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": who}
    assert (await a.post(request("initialize", opening)).whole()).status == 200
    [key] = await edge.records.list("session/")
    record = await edge.records.get(key)

    assert record is not None
    assert len(record) < 45_000
