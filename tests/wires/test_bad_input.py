"""What no client should send: the right status, a clear message, no effect on anybody else."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from mcp_edge.protocol import request as edge_request
from tests.support.asgi import Answer, Call, Headers
from tests.support.deployment import BOTH, ENVELOPE, MODERN, Deployment, Instance, Session, request, text

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
JSON = ("content-type", "application/json")
WIRES = pytest.mark.parametrize("wire", ["modern", "handshake", "sse"])


class Client:
    """A client of one wire that can POST any bytes."""

    def __init__(self, wire: str, at: Instance) -> None:
        self.wire = wire
        self.at = at
        self._path = "/mcp"
        self._headers: list[tuple[str, str]] = []
        self._stream: Call | None = None

    async def open(self) -> Client:
        if self.wire == "handshake":
            self._headers = (await self.at.initialize()).headers
        elif self.wire == "sse":
            self._stream = self.at.send("GET", "/sse", [("accept", "text/event-stream")])
            event = await self._stream.event()
            assert event is not None
            self._path = event.data
            params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            assert (await self.post(json.dumps(request("initialize", params)).encode()).whole()).status == 202
            await self._stream.message()
        else:
            self._headers = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "anything")]
        return self

    def post(self, body: bytes | list[bytes], *extra: tuple[str, str], whole: bool = True) -> Call:
        headers = [JSON, ("accept", BOTH), *self._headers, *extra]
        return self.at.send("POST", self._path, headers, body, whole=whole)

    async def anything(self, value: bytes, *, id: bytes = b"5") -> Any:
        """The result of calling `anything` with a value that is written as it is."""
        meta = json.dumps(ENVELOPE if self.wire == "modern" else {}).encode()
        params = b'{"name":"anything","arguments":{"value":%b},"_meta":%b}' % (value, meta)
        body = b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":%b}' % (id, params)
        answer = await self.post(body).whole()
        if self._stream is None or answer.status != 202:
            return answer.json
        return await self._stream.message()

    async def works(self) -> bool:
        return text(await self.anything(b"1")) == "int"


def error(answer: Answer) -> tuple[int, int]:
    assert answer.json["error"]["message"]
    return answer.status, answer.json["error"]["code"]


@WIRES
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1}{"b":2}',
        b'"\\x"',
        b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'{"a":\xed\xa0\x80}',
        b'"\xc0\xaf"',
        b'"a\nb"',
    ],
)
async def test_what_is_no_json_is_a_parse_error(edge: Deployment, wire: str, body: bytes) -> None:
    client = await Client(wire, edge.instance("A")).open()

    assert error(await client.post(body).whole()) == (400, -32700)
    assert await client.works()


@WIRES
@pytest.mark.parametrize(
    "body",
    [
        "1",
        "null",
        "true",
        '"text"',
        "1.5",
        "{}",
        '{"jsonrpc":"2.0"}',
        '{"jsonrpc":"1.0","id":1,"method":"ping"}',
        '{"jsonrpc":2.0,"id":1,"method":"ping"}',
        '{"id":1,"method":"ping"}',
        '{"jsonrpc":"2.0","id":null,"method":"ping"}',
        '{"jsonrpc":"2.0","id":true,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1.0,"method":"ping"}',
        '{"jsonrpc":"2.0","id":[1],"method":"ping"}',
        '{"jsonrpc":"2.0","id":{},"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":7}',
        '{"jsonrpc":"2.0","id":1,"method":null}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}',
        '{"jsonrpc":"2.0","result":{}}',
        '{"jsonrpc":"2.0","id":null,"result":{}}',
        '{"jsonrpc":"2.0","id":1,"result":7}',
        '{"jsonrpc":"2.0","id":1,"error":"x"}',
    ],
)
async def test_what_is_no_message_is_an_invalid_request(edge: Deployment, wire: str, body: str) -> None:
    client = await Client(wire, edge.instance("A")).open()

    assert error(await client.post(body.encode()).whole()) == (400, -32600)
    assert await client.works()


@WIRES
@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["arrays", "objects"])
async def test_json_nested_too_deep_is_a_parse_error(edge: Deployment, wire: str, opening: bytes) -> None:
    client = await Client(wire, edge.instance("A")).open()
    closing = b"]" if opening == b"[" else b"}"
    for depth in (201, 5_000, 200_000):
        assert error(await client.post(opening * depth + b"1" + closing * depth).whole()) == (400, -32700)
        assert error(await client.post(opening * depth).whole()) == (400, -32700)

    assert await client.works()


@WIRES
async def test_json_nested_as_deep_as_is_legal_is_served(edge: Deployment, wire: str) -> None:
    client = await Client(wire, edge.instance("A")).open()
    deep = b'{"a":' * 190 + b"1" + b"}" * 190

    assert text(await client.anything(deep)) == "dict"
    assert text(await client.anything(b"[" * 190 + b"]" * 190)) == "list"


@WIRES
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"9" * 4000, "int"),
        (b"-" + b"9" * 4000, "int"),
        (b"1e308", "float"),
        (b"-0.0", "float"),
        (b'{"a":1,"a":2}', "dict"),
        (b'"\\ud83d"', "str"),
        (b'{"\\udc00":"\\ud800\\ud800"}', "dict"),
        (b'"\\u0000"', "str"),
        (b"null", "NoneType"),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_legal_but_odd_values_reach_the_tool(edge: Deployment, wire: str, value: bytes, kind: str) -> None:
    client = await Client(wire, edge.instance("A")).open()
    answer = await client.anything(value)

    if "error" in answer:  # the parser may refuse what is no Unicode; it must say so
        assert b"\\ud" in value
        assert answer["error"]["code"] in (-32700, -32602)
    else:
        assert text(answer) == kind
    assert await client.works()


@WIRES
@pytest.mark.parametrize("value", [b"9" * 5000, b"1e999", b"-1e999"], ids=["integer", "float", "negative"])
async def test_a_number_too_large_is_refused_or_served_but_never_a_failure(
    edge: Deployment, wire: str, value: bytes
) -> None:
    client = await Client(wire, edge.instance("A")).open()
    answer = await client.anything(value)

    assert answer.get("error", {}).get("code", -32700) in (-32700, -32602)
    assert await client.works()


@WIRES
@pytest.mark.parametrize(
    "id",
    [b"9" * 300, b"-1", b"0", b'""', b'"' + b"x" * 5000 + b'"', b'"\\ud83d"', b'"\\u0000"', b'"1"'],
    ids=lambda id: repr(id)[:16],
)
async def test_every_legal_id_comes_back_as_it_was(edge: Deployment, wire: str, id: bytes) -> None:
    client = await Client(wire, edge.instance("A")).open()
    answer = await client.anything(b"1", id=id)

    if "error" in answer:
        assert (id, answer["error"]["code"]) == (b'"\\ud83d"', -32700)
    else:
        assert answer["id"] == json.loads(id)
    assert await client.works()


async def test_the_last_of_duplicate_keys_counts(edge: Deployment) -> None:
    client = await Client("handshake", edge.instance("A")).open()
    body = b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x","method":"ping"}'

    assert (await client.post(body).whole()).json == {"jsonrpc": "2.0", "id": 2, "result": {}}


@pytest.mark.parametrize("version", ["2025-03-26", "2025-11-25", MODERN])
async def test_a_result_that_utf8_cannot_hold_is_escaped(edge: Deployment, version: str) -> None:
    a = edge.instance("A")
    params: dict[str, Any] = {"name": "surrogate", "arguments": {}}
    call = a.modern("tools/call", params) if version == MODERN else (await a.initialize(version)).call(a, "surrogate")
    answer = await call.whole()

    assert text(answer.json) == "half \ud83d"


# -- the body ----------------------------------------------------------------------------------------------------------


def padded(message: dict[str, Any], size: int) -> bytes:
    raw = json.dumps(message).encode()
    return raw[:-1] + b" " * (size - len(raw)) + b"}"


@WIRES
async def test_a_body_of_four_mebibytes_is_served(edge: Deployment, wire: str) -> None:
    client = await Client(wire, edge.instance("A")).open()
    body = padded(request("ping", {"_meta": ENVELOPE} if wire == "modern" else None), 4 * MIB)
    chunks = [body[:MIB], b"", body[MIB:]]

    assert len(body) == 4 * MIB
    for sent in ([body], chunks):
        assert (await client.post(sent).whole()).status in (200, 202, 400 if wire == "modern" else 200)


@WIRES
async def test_a_body_one_byte_longer_is_refused_unparsed(edge: Deployment, wire: str) -> None:
    client = await Client(wire, edge.instance("A")).open()
    body = b"x" * (4 * MIB + 1)
    at_once = await client.post(body).whole()
    chunked = await client.post([body[:MIB]] * 4 + [b"x"]).whole()

    assert [at_once.status, chunked.status] == [413, 413]
    assert "4194304 bytes" in at_once.json["error"]["message"]
    assert await client.works()


@WIRES
@pytest.mark.parametrize("declared", ["4194305", "9" * 30])
async def test_a_declared_length_over_the_limit_is_refused_unread(edge: Deployment, wire: str, declared: str) -> None:
    client = await Client(wire, edge.instance("A")).open()
    call = client.post(b"{}", ("content-length", declared), whole=False)

    assert (await call.whole()).status == 413
    assert call.reads == 0


async def test_an_endless_body_is_read_no_further_than_the_limit(edge: Deployment) -> None:
    client = await Client("modern", edge.instance("A")).open()
    call = client.post([b"x" * MIB] * 50)

    assert (await call.whole()).status == 413
    assert call.reads <= 6


@WIRES
async def test_a_body_that_does_not_arrive_in_time_is_refused(
    edge: Deployment, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await Client(wire, edge.instance("A")).open()
    monkeypatch.setattr(edge_request, "BODY_TIMEOUT_S", 0.01)
    for chunks in ([], [b'{"jsonrpc"']):
        answer = await client.post(chunks, whole=False).whole()
        assert answer.status == 400
        assert "in time" in answer.json["error"]["message"]


@WIRES
async def test_a_client_that_leaves_before_its_body_is_whole_is_forgotten(edge: Deployment, wire: str) -> None:
    client = await Client(wire, edge.instance("A")).open()
    for chunks in ([b'{"jsonrpc"'], []):
        call = client.post(chunks, whole=False)
        reads = len(chunks) + 1
        await edge.until(lambda call=call, reads=reads: call.reads == reads)
        await call.disconnect()
        await call.gone()
        assert call.status == 0

    assert await client.works()


# -- the headers -------------------------------------------------------------------------------------------------------


@WIRES
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/jsonp", "application/x-www-form-urlencoded", "", "json"]
)
async def test_a_body_that_is_not_declared_as_json_is_refused(edge: Deployment, wire: str, kind: str | None) -> None:
    a = edge.instance("A")
    path = "/messages?session_id=x" if wire == "sse" else "/mcp"
    headers: Headers = [("accept", BOTH), *([("content-type", kind)] if kind is not None else [])]
    answer = await a.send("POST", path, headers, b"{}").whole()

    assert error(answer)[0] == 415


@WIRES
async def test_a_packed_body_is_refused_by_name(edge: Deployment, wire: str) -> None:
    client = await Client(wire, edge.instance("A")).open()
    packed = await client.post(gzip.compress(b"{}"), ("content-encoding", "gzip")).whole()
    plain = await client.post(b"{", ("content-encoding", "Identity")).whole()

    assert error(packed)[0] == 415
    assert "content coding" in packed.json["error"]["message"]
    assert error(plain) == (400, -32700)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8 "]
)
async def test_parameters_and_case_of_the_content_type_do_not_matter(edge: Deployment, kind: str) -> None:
    answer = await edge.instance("A").send("POST", "/mcp", [("content-type", kind)], b"{").whole()

    assert error(answer) == (400, -32700)


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "text/event-stream",
        "text/html",
        "",
        "application/json, text/event-stream;q=0",
        "text/*, image/*",
    ],
)
async def test_an_accept_header_without_both_media_types_is_refused(edge: Deployment, accept: str) -> None:
    answer = await edge.instance("A").post(request("ping"), accept=accept).whole()

    assert error(answer)[0] == 406


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        BOTH,
        "text/event-stream,application/json;q=0.1",
        "application/*, text/*",
        "APPLICATION/JSON, TEXT/EVENT-STREAM",
    ],
)
async def test_an_accept_header_with_both_is_served(edge: Deployment, accept: str) -> None:
    a = edge.instance("A")
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")]
    answer = await a.post(request("tools/list", {"_meta": ENVELOPE}), headers, accept=accept).whole()

    assert answer.status == 200


async def test_a_post_without_an_accept_header_is_served(edge: Deployment) -> None:
    headers = [JSON, ("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")]
    body = json.dumps(request("tools/list", {"_meta": ENVELOPE})).encode()

    assert (await edge.instance("A").send("POST", "/mcp", headers, body).whole()).status == 200


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_a_stream_is_not_sent_to_who_does_not_accept_one(edge: Deployment, path: str) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    answer = await a.send("GET", path, [*session.headers, ("accept", "application/json")]).whole()

    assert answer.status == 406


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "origin",
        "content-type",
        "authorization",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "last-event-id",
        "content-length",
        "mcp-param-region",
    ],
)
async def test_a_header_that_must_be_single_may_not_be_repeated(edge: Deployment, name: str) -> None:
    twice = [(name, "1"), (name, "1")]
    answer = (
        await edge.instance("A")
        .send("POST", "/mcp", twice, b"{}", host=None if name == "host" else "localhost")
        .whole()
    )

    assert answer.status == 400
    assert name in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/mcp", 405),
        ("PATCH", "/mcp", 405),
        ("HEAD", "/mcp", 405),
        ("POST", "/sse", 405),
        ("GET", "/messages", 405),
        ("DELETE", "/messages", 405),
        ("GET", "/", 404),
        ("POST", "/mcp/", 404),
        ("GET", "/../etc/passwd", 404),
    ],
)
async def test_what_is_not_there_is_refused(edge: Deployment, method: str, path: str, status: int) -> None:
    answer = await edge.instance("A").send(method, path).whole()

    assert answer.status == status
    if method == "HEAD":  # RFC 9110 §9.3.2
        assert answer.body == b""
    else:
        assert answer.json["error"]


async def test_a_refused_request_tells_its_id(edge: Deployment) -> None:
    answer = await Session("forged", "2025-11-25").request(edge.instance("A"), "ping", id="mine").whole()

    assert answer.json["id"] == "mine"


async def test_bad_requests_leave_a_call_under_way_alone(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    call = session.call(a, "look_up", {"topic": "x"})
    await edge.until(lambda: bool(edge.recorder.runs))
    bad = [session.post(a, body) for body in (b"{", b"[]", b"[" * 300, b"\xff")]
    statuses = [answer.status for answer in await asyncio.gather(*(one.whole() for one in bad))]
    edge.recorder.gate("A").set()

    assert statuses == [400] * 4
    assert text((await call.whole()).json) == "x by A"
