"""Framing, heads, and bodies that nobody reads, as raw bytes on a socket: what strangers send is bounded."""

from __future__ import annotations

import asyncio
import random
from unittest.mock import Mock

import h11
import pytest
from starlette.types import Receive, Scope, Send

from mcp_edge.hosts.cli.http_framing import Connection
from mcp_edge.hosts.cli.http_transport import Transport
from tests.hosts.cli.edge import echo, serving, until

pytestmark = pytest.mark.anyio

POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
END = b"0\r\n\r\n"


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"none"})


def chunks(data: bytes, size: int, extension: bytes = b"") -> bytes:
    """`data` in chunks of `size` bytes."""
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)


async def send_all(writer: asyncio.StreamWriter, piece: bytes, times: int) -> None:
    """Send `piece` so many times."""
    for _ in range(times):
        writer.write(piece)
        await writer.drain()


def status(answer: bytes) -> int:
    """That of the only response in `answer`."""
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    return int(answer.split(b" ", 2)[1])


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "first"),
    [([(b"content-length", b"4")], 0), ([(b"x-note", b"content-length: 4")], 1)],
    ids=["stated", "a stream"],
)
async def test_a_head_goes_out_with_the_body_that_follows_at_once(
    fields: list[tuple[bytes, bytes]], first: int
) -> None:
    connection = Connection()
    connection.receive_data(GET)
    while connection.their_state is not h11.DONE:
        connection.next_event()
    head = connection.send(h11.Response(status_code=200, headers=fields, reason=b"OK"))
    assert head.count(b"HTTP/1.1 200 OK") == first
    body = connection.send(h11.Data(data=b"none"))
    assert body.count(b"HTTP/1.1 200 OK") == 1 - first
    assert b"none" in body
    assert b"HTTP/1.1" not in connection.send(h11.EndOfMessage())


async def test_a_head_goes_out_without_a_body_too() -> None:
    connection = Connection()
    connection.receive_data(GET)
    while connection.their_state is not h11.DONE:
        connection.next_event()
    assert connection.send(h11.Response(status_code=404, headers=[(b"content-length", b"0")])) == b""
    assert connection.send(h11.EndOfMessage()).startswith(b"HTTP/1.1 404 ")


# -- bodies in chunks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        chunks(b"x" * 20_000, 1) + END,
        chunks(b"x" * 20_000, 2) + END,
        chunks(b"x" * 100_000, 100_000) + chunks(b"x" * 20_000, 1) + END,
        chunks(b"x" * 20_000, 1).replace(b"1\r\n", b"0000000000000001\r\n") + END,
        chunks(b"x" * 100, 1, b";" + b"e" * 1000) + END,
        chunks(b"x" * 100_000, 1000, b';name="' + b"e" * 2000 + b'"') + END,
        b"1;" + b"e" * 100_000 + b"\r\nx\r\n" + END,
        b"1;" + b"e" * 100_000,
        b"1\r\nx\r\n0\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
        b"1\r\nx\r\n0\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
        b"1\r\nx\r\n0\r\n" + b"a:\r\n" * 100_000,
    ],
    ids=["ones", "twos", "credit", "zeros", "extensions", "longer", "line", "endless", "trailers", "trailer", "no-end"],
)
async def test_a_body_with_more_framing_than_data_is_refused(body: bytes) -> None:
    async with serving() as edge:
        assert status(await edge.exchange(CHUNKED + body)) == 400
        assert status(await edge.exchange(CHUNKED, *(body[at : at + 999] for at in range(0, len(body), 999)))) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n", b"-1\r\nx\r\n", b"0x1\r\nx\r\n", b"1_0\r\n", b" 1\r\nx\r\n", b"1\nx\n0\n\n", b"1\r\nxy\r\n",
        b"1\r\nx\n0\r\n\r\n", b"1\rx\r\n", b"1;a\rb\r\nx\r\n", b"1;a\nb\r\nx\r\n", b"\r\n", b"1 1\r\nx\r\n",
        b"\xb2\r\nxx\r\n", b"11111111111111111\r\nx", b"0\r\nno field\r\n\r\n", b"0\r\n a: b\r\n\r\n",
        b"0\r\na : b\r\n\r\n", b"0\r\na: b\nc: d\r\n\r\n", b"0\r\nGET / HTTP/1.1\r\n\r\n", b"1\r\nx\rX",
    ],
)  # fmt: skip
async def test_chunks_that_others_might_read_differently_are_refused(body: bytes) -> None:
    async with serving() as edge:
        assert status(await edge.exchange(CHUNKED + body)) == 400


@pytest.mark.parametrize(
    ("length", "size", "extension"),
    [(3_000_000, 1024, b""), (3_000_000, 16_384, b""), (3_000_000, 7, b""), (20_480, 64, b""), (20_000, 5, b""),
     (4_000, 1, b""), (1_000_000, 65_536, b";chunk-signature=" + b"a" * 64)],
)  # fmt: skip
async def test_a_body_in_chunks_of_any_reasonable_size_arrives(length: int, size: int, extension: bytes) -> None:
    data = bytes(random.Random(1).choices(b"\r\n0123456789abcdef;", k=length))
    async with serving() as edge:
        answer = await edge.exchange(CHUNKED + chunks(data, size, extension) + END + LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert data in answer


async def test_a_request_may_arrive_byte_by_byte() -> None:
    whole = CHUNKED + b"5 ; a=b\r\nhello\r\nA\r\n0123456789\r\n00\r\nTrailer: of no use\r\n\r\n" + LAST
    async with serving() as edge:
        reader, writer = await edge.connect()
        for byte in whole:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        answer = await reader.read()
        writer.close()
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"\r\n\r\nhello0123456789HTTP" in answer


# -- answers before the request's end ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [chunks(b"x" * 10_000, 1), chunks(b"x" * 1_000_000, 1000), b"", b"1;" + b"e" * 3000, b"\0" * 100_000],
    ids=["ones", "upload", "nothing", "extension", "nonsense"],
)
@pytest.mark.parametrize("head", [CHUNKED, POST + b"Content-Length: 100000000\r\n\r\n"], ids=["chunked", "length"])
async def test_an_answer_before_the_request_ends_is_the_last_one(head: bytes, rest: bytes) -> None:
    async with serving(early) as edge:
        reader, writer = await edge.connect()
        writer.write(head)
        answer = await reader.readuntil(b"none")
        writer.write(rest + GET)
        answer += await reader.read()
        assert status(answer) == 404
        assert b"\r\nconnection: close\r\n" in answer.lower()
        writer.close()


async def test_what_comes_after_the_last_answer_is_read_for_a_while_only() -> None:
    async with serving(early) as edge:
        reader, writer = await edge.connect()
        writer.write(CHUNKED)
        answer = await reader.read()
        assert status(answer) == 404
        piece = chunks(b"x" * 65536, 65536)
        with pytest.raises(ConnectionError):
            await send_all(writer, piece, 4096)
        writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_in_the_middle_of_an_upload_gets_the_answer(chunked: bool) -> None:
    body = b"x" * 8_000_000
    async with serving(early) as edge:
        if chunked:
            answer = await edge.exchange(CHUNKED, chunks(body, 16_384), END)
        else:
            answer = await edge.exchange(POST + b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert status(answer) == 404
    assert answer.endswith(b"none")


async def test_a_request_that_has_ended_keeps_its_connection() -> None:
    async with serving(early) as edge:
        answer = await edge.exchange(POST + b"Content-Length: 3\r\n\r\nabc" + CHUNKED + b"3\r\nabc\r\n" + END + LAST)
    assert [line for line in answer.split(b"\r\n") if line.lower().startswith(b"connection")] == [b"Connection: close"]
    assert answer.count(b"HTTP/1.1 404 ") == 3


# -- heads ------------------------------------------------------------------------------------------------------------

LONG = b"x" * 5000


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (GET[:-2] + b"a: b\r\n" * 100 + b"\r\n", 431),
        (GET[:-2] + b"a:\r\n" * 15_000 + b"\r\n", 431),
        (GET[:-2] + b"a:\r\n" * 7_000, 431),
        (GET[:-2] + b"a: " + LONG * 7 + b"\r\n\r\n", 431),
        (GET[:-2] + b"a: " + LONG * 7, 431),
        (b"GET /" + LONG * 4 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /" + LONG * 7, 414),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\nB: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\rB: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /\t HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        *[
            (b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)
            for target in (
                b"ftp://localhost/",
                b"http:/localhost/",
                b"http:localhost/",
                b"http:///",
                b"http://",
                b"*",
                b"http://a@localhost/",
                b"http://localhost#a",
                b"http://localhost:/",
                b"http://localhost:x/",
                b"localhost/",
                b"http://localhost\\@evil.example/",
                b"http://evil.example,localhost/",
                b"http://[::1/",
                b"http://%6c/",
                b"HTTP/1.1",
                b"xhttp://localhost/",
                b"ws://localhost/",
                b"http://localhost;/",
                b"http://l\xc3\xb6/",
            )
        ],
        (b"GET http://localhost/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"CONNECT /healthz HTTP/1.0\r\n\r\n", 400),
        (b"CONNECT /mcp HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"CONNECT http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / http/1.1\r\nHost: localhost\r\n\r\n", 400),
    ],
)
async def test_a_head_that_is_too_much_or_not_clear_is_refused(
    head: bytes, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as edge:
        assert status(await edge.exchange(head)) == expected
        after = await edge.exchange(GET, head)
        assert after.startswith(b"HTTP/1.1 200 ")
        assert after.count(b"HTTP/1.1 ") == 2
        assert b"HTTP/1.1 %d " % expected in after
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"tRANSFER-eNCODING: chunked\r\nCONTENT-LENGTH: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: 5.0\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: \x0b5\r\n",
        b"Content-Length: 9999999999999999999999\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length\r\n : 5\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: identity, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked;q=1\r\n",
        b'Transfer-Encoding: "chunked"\r\n',
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: chunked\x0b\r\n",
        b"Transfer-Encoding: chunked\x00\r\n",
        b"Transfer-Encoding: chun\xc4\xb8ed\r\n",
        b"Transfer-Encoding:\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"A: b\nTransfer-Encoding: chunked\r\n",
        b"A: b\rTransfer-Encoding: chunked\r\n",
    ],
)
async def test_a_body_whose_length_could_be_read_in_two_ways_is_refused(fields: bytes) -> None:
    async with serving() as edge:
        assert status(await edge.exchange(POST + fields + b"\r\n0\r\n\r\n" + GET)) == 400
        assert status(await edge.exchange(POST + fields, b"\r\n", b"0\r\n\r\n" + GET)) == 400


async def test_http_1_0_has_no_transfer_coding() -> None:
    old = b"POST / HTTP/1.0\r\nHost: localhost\r\n"
    async with serving() as edge:
        assert status(await edge.exchange(old + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" + END)) == 400
        assert (await edge.exchange(old + b"Content-Length: 1\r\n\r\nx" + GET)).endswith(b"\r\n\r\nx")


@pytest.mark.parametrize(
    "fields",
    [
        b"Authorization: Bearer " + b"t" * 12_000 + b"\r\nCookie: " + b"c" * 8_000 + b"\r\n" + b"X-Proxy: 1\r\n" * 60,
        b"Content-Length:5\r\n",
        b"content-length:\t 0005\t \r\n",
        b"Expect: something else\r\nContent-Length: 5\r\n",
        b"X-Content-Length: 1\r\nX-Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nA: " + bytes(range(0xA0, 0xFF)) + b"\r\n",
    ],
)
async def test_a_head_as_clients_and_proxies_write_it_is_read(fields: bytes) -> None:
    body = b"hello" if b"ontent" in fields else b""
    target = b"/?state=" + b"s" * 8_000
    async with serving() as edge:
        head = b"POST " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n"
        answer = await edge.exchange(head + body + LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert body in answer


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what the target and the Host were taken for."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    body = b" ".join([scope["path"].encode(), scope["query_string"], *hosts])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (b"http://evil.example/mcp?a=/b", b"/mcp a=/b evil.example"),
        (b"HTTPS://Evil.example:8443", b"/  Evil.example:8443"),
        (b"http://[::1]:80?a=http://b/", b"/ a=http://b/ [::1]:80"),
        (b"http://evil.example//http://localhost/", b"//http://localhost/  evil.example"),
        (b"/http://evil.example/", b"/http://evil.example/  localhost"),
    ],
)
@pytest.mark.parametrize("field", [b"Host: localhost", b"hOST:localhost", b"X-Host: a\r\nHost:\t localhost "])
async def test_of_a_target_that_is_a_url_the_authority_is_the_host(target: bytes, told: bytes, field: bytes) -> None:
    body = b"\r\nHost: body\r\n\r\n"
    head = b"POST %b HTTP/1.1\r\n%b\r\nContent-Length: %d\r\n\r\n" % (target, field, len(body))
    async with serving(tell) as edge:
        answer = await edge.exchange(head + body + head, body + LAST)
    assert answer.count(told + b"HTTP/1.1 200 ") == 2
    assert answer.endswith(b"/  localhost")


# -- what else HTTP has -----------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    async with serving() as edge:
        bodies = [b"%d" % n for n in range(10)]
        sent = [POST + b"Content-Length: 1\r\n\r\n" + body for body in bodies]
        answer = await edge.exchange(b"".join(sent) + CHUNKED + b"1\r\nx\r\n" + END + LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 12
    assert [part[-1:] for part in answer.split(b"HTTP/1.1 200 OK")[1:12]] == [*bodies, b"x"]


async def test_a_client_that_waits_before_its_body_is_told_to_go_on_or_answered() -> None:
    head = POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n"
    async with serving() as edge:
        reader, writer = await edge.connect()
        writer.write(head + b"Connection: close\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"hello")
        assert (await reader.read()).endswith(b"\r\n\r\nhello")
        writer.close()
    async with serving(early) as edge:
        assert status(await edge.exchange(head + b"\r\n")) == 404


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.2, h2c"])
async def test_an_upgrade_that_is_not_served_changes_nothing(protocol: bytes, caplog: pytest.LogCaptureFixture) -> None:
    head = POST + b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: " + protocol + b"\r\n"
    async with serving() as edge:
        answer = await edge.exchange(head + b"Content-Length: 5\r\n\r\nhello", LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert not [record for record in caplog.records if "upgrade" in record.message.lower()]


@pytest.mark.parametrize("fields", [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: h2c\r\n"])
def test_what_follows_a_request_is_not_read_before_its_answer(fields: bytes) -> None:
    connection = Connection()
    connection.receive_data(GET[:-2] + fields + b"\r\n")
    assert [type(connection.next_event()) for _ in range(2)] == [h11.Request, h11.EndOfMessage]
    assert connection.next_event() is h11.NEED_DATA
    connection.receive_data(b"x" * 65_536)
    assert connection.next_event() is h11.PAUSED  # so uvicorn stops reading
    assert connection.next_event() is h11.PAUSED


# -- clients that are gone --------------------------------------------------------------------------------------------


async def test_a_client_that_has_reset_its_connection_leaves_no_traceback() -> None:
    for waiting in (0, 5):
        socket = Mock()
        socket.is_closing.return_value = False
        socket.get_write_buffer_size.return_value = waiting
        socket.write_eof.side_effect = OSError(107, "Transport endpoint is not connected")
        socket.get_extra_info.return_value.shutdown.side_effect = socket.write_eof.side_effect
        transport = Transport(socket, lambda: True)
        transport.close()
        assert socket.abort.call_count == 0
        transport.drained()
        transport.drained()
        await asyncio.sleep(0)
        assert socket.abort.call_count == 1
        transport.lost()


async def test_our_side_ends_when_the_last_answer_is_sent() -> None:
    socket = Mock()
    socket.is_closing.return_value = False
    socket.get_write_buffer_size.return_value = 5
    transport = Transport(socket, lambda: True)
    transport.close()
    shutdown = socket.get_extra_info.return_value.shutdown
    assert (shutdown.call_count, socket.set_write_buffer_limits.call_args.args) == (0, (0,))
    transport.drained()
    assert shutdown.call_count == 1
    transport.lost()


async def test_a_large_answer_before_the_end_of_its_request_arrives_whole() -> None:
    async def much(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % 2**24)]})
        await send({"type": "http.response.body", "body": b"x" * 2**24})

    async with serving(much) as edge:
        reader, writer = await edge.connect()
        writer.write(CHUNKED)
        assert len((await reader.read()).partition(b"\r\n\r\n")[2]) == 2**24  # and then our side ends
        writer.close()
        await until(lambda: not edge.connections)


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"GET", b"DELETE", b"TRACE"])
async def test_no_method_makes_a_body_welcome(method: bytes) -> None:
    async with serving(early) as edge:
        answer = await edge.exchange(CHUNKED.replace(b"POST", method), chunks(b"x" * 1000, 1))
    assert status(answer) == 404


async def test_a_body_that_becomes_malformed_after_its_answer_has_begun_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] == "http.request":
            pass

    async with serving(stream) as edge:
        reader, writer = await edge.connect()
        writer.write(CHUNKED)
        await reader.readuntil(b"begun")
        writer.write(b"no chunk\r\n")
        assert await reader.read() in (b"", b"\r\n")
        writer.close()
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_body_that_is_refused_while_the_app_reads_it_is_answered_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo) as edge:
        reader, writer = await edge.connect()
        writer.write(CHUNKED + b"1\r\nx\r\n")
        await asyncio.sleep(0.05)  # the app waits for more
        writer.write(b"no chunk\r\n")
        assert status(await reader.read()) == 400
        writer.close()
    assert not [record for record in caplog.records if record.exc_info]
