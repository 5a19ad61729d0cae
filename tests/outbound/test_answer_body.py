"""What somebody else's server sends stays as small in memory as its reader allows, however it is compressed."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from mcp_edge import Upstream
from mcp_edge.auth.identity.jwks import Jwks
from mcp_edge.auth.identity.oauth_client import OAuthClient
from mcp_edge.errors import UpstreamError
from mcp_edge.outbound import http_client, public_http
from mcp_edge.outbound.answer_body import MAX_BYTES, AnswerTooLarge
from mcp_edge.outbound.fetch import exchange
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords

pytestmark = pytest.mark.anyio

URL = "https://api.test/x"
BOMB = 256 * 1024 * 1024
PEAK = 24 * 1024 * 1024
"""More than the largest answer that is taken, far less than what the bombs hold."""


class Parts(httpx.AsyncByteStream):
    """A body that arrives in these parts; an empty list is one that has no end."""

    def __init__(self, *parts: bytes, endless: bytes = b"") -> None:
        self._parts = parts
        self._endless = endless
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            self.taken += len(part)
            yield part
        while self._endless:
            self.taken += len(self._endless)
            yield self._endless


def sending(body: Parts, *encodings: str, status: int = 200) -> httpx.MockTransport:
    """A server that answers with this body; each encoding has a header line of its own."""
    headers = [("content-encoding", encoding) for encoding in encodings]
    more = [("location", "/elsewhere")] if status == 302 else []
    return httpx.MockTransport(lambda _: httpx.Response(status, headers=headers + more, stream=body))


def squeezed(data: bytes, wbits: int) -> bytes:
    by = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return by.compress(data) + by.flush()


@cache
def bomb(wbits: int) -> bytes:
    by = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(by.compress(bytes(1 << 22)) for _ in range(BOMB >> 22)) + by.flush()


BOMBS: list[tuple[tuple[str, ...], Callable[[], bytes]]] = [
    (("gzip",), lambda: bomb(31)),
    (("x-gzip",), lambda: bomb(31)),
    (("deflate",), lambda: bomb(15)),
    (("deflate",), lambda: bomb(-15)),
    (("gzip, gzip",), lambda: gzip.compress(bomb(31))),
    (("gzip", "gzip"), lambda: gzip.compress(bomb(31))),
    (("deflate, identity, GZIP",), lambda: gzip.compress(bomb(15))),
]


async def peak_of(work: Callable[[], Awaitable[object]]) -> int:
    """The most bytes that Python held for `work` at one time."""
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def platform(client: httpx.AsyncClient) -> Platform:
    return Platform(Settings(), MemoryRecords(), MemoryAtomics(), http=lambda: client)


async def by_upstream(client: httpx.AsyncClient) -> None:
    with pytest.raises(UpstreamError, match=r"larger than 1048576|compressed"):
        await Upstream("https://api.test", "secret", client).get("/x")


async def by_keys_of_an_issuer(client: httpx.AsyncClient) -> None:
    with pytest.raises(UpstreamError, match="compressed"):
        await Jwks(platform(client), URL).key("a", "RS256")


async def by_a_token_endpoint(client: httpx.AsyncClient) -> None:
    with pytest.raises(UpstreamError, match="compressed"):
        await OAuthClient(platform(client), "GitHub", "id", "secret").redeem(
            URL, "code", {}, callback="https://mcp.test/", method="client_secret_post"
        )


async def by_who_asks_whose_token_it_is(client: httpx.AsyncClient) -> None:
    with pytest.raises(UpstreamError, match="compressed"):
        await OAuthClient(platform(client), "GitHub", "id", "secret").get(URL, "token")


async def by_a_tool(client: httpx.AsyncClient) -> None:
    with pytest.raises((AnswerTooLarge, httpx.DecodingError)):
        await client.get(URL)


async def by_a_tool_that_streams(client: httpx.AsyncClient) -> None:
    async def read() -> None:
        async with client.stream("GET", URL) as response:
            async for part in response.aiter_bytes():
                assert len(part) <= 65536

    with pytest.raises((AnswerTooLarge, httpx.DecodingError)):
        await read()


@pytest.mark.parametrize(
    "read",
    [
        by_upstream,
        by_keys_of_an_issuer,
        by_a_token_endpoint,
        by_who_asks_whose_token_it_is,
        by_a_tool,
        by_a_tool_that_streams,
    ],
)
@pytest.mark.parametrize(("encodings", "made"), BOMBS)
async def test_an_answer_that_grows_when_it_is_decoded_is_left_where_it_is_too_large(
    read: Callable[[httpx.AsyncClient], Awaitable[None]], encodings: tuple[str, ...], made: Callable[[], bytes]
) -> None:
    async with http_client.client(sending(Parts(made()), *encodings)) as client:
        assert await peak_of(lambda: read(client)) < PEAK


@pytest.mark.parametrize(("encodings", "made"), BOMBS)
async def test_the_bound_does_not_depend_on_whose_client_it_is(
    encodings: tuple[str, ...], made: Callable[[], bytes]
) -> None:
    async with httpx.AsyncClient(transport=sending(Parts(made()), *encodings)) as client:
        assert await peak_of(lambda: by_upstream(client)) < PEAK


@pytest.mark.parametrize(("encodings", "made"), BOMBS)
async def test_an_answer_that_leads_elsewhere_is_bounded_too(
    encodings: tuple[str, ...], made: Callable[[], bytes]
) -> None:
    async def follow(client: httpx.AsyncClient) -> None:
        with pytest.raises((AnswerTooLarge, httpx.DecodingError)):
            await client.get(URL, follow_redirects=True)

    async with http_client.client(sending(Parts(made()), *encodings, status=302)) as client:
        assert await peak_of(lambda: follow(client)) < PEAK


async def test_a_strangers_server_is_read_no_further_than_the_bound() -> None:
    body = Parts(endless=bytes(65536))
    client = public_http.client(sending(body), None)
    async with client:
        with pytest.raises(AnswerTooLarge, match=f"larger than {MAX_BYTES} bytes"):
            await client.get("https://stranger.example/")
        assert body.taken == MAX_BYTES + 65536
        with pytest.raises(AnswerTooLarge):
            await client.get("https://stranger.example/", extensions={"max_bytes": 10})


async def test_what_is_endless_and_decodes_to_nothing_is_given_up() -> None:
    head = zlib.compressobj(9, zlib.DEFLATED, -15)
    nothing = head.compress(b"") + head.flush(zlib.Z_SYNC_FLUSH)  # an empty block
    body = Parts(endless=nothing * 1000)
    async with http_client.client(sending(body, "deflate")) as client:
        with pytest.raises(UpstreamError, match="larger than 2500 bytes"):
            await Upstream("https://api.test", "secret", client).get("/x", max_bytes=2500)
    assert body.taken < 16_000


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("", b'{"a": 1}'),
        ("identity", b'{"a": 1}'),
        ("gzip", gzip.compress(b'{"a": 1}', mtime=0)),
        ("X-GZip, identity", gzip.compress(b'{"a": 1}', mtime=0)),
        ("deflate", zlib.compress(b'{"a": 1}')),
        ("deflate", squeezed(b'{"a": 1}', -15)),
    ],
)
async def test_an_answer_that_is_compressed_once_is_read_by_tools(encoding: str, data: bytes) -> None:
    def body() -> Parts:
        return Parts(*(data[i : i + 1] for i in range(len(data))))

    encodings = (encoding,) if encoding else ()
    async with http_client.client(sending(body(), *encodings)) as client:
        response = await Upstream("https://api.test", "secret", client).get("/x", max_bytes=8)
        assert response.json() == {"a": 1}
        assert response.headers["content-length"] == "8"
    async with http_client.client(sending(body(), *encodings)) as client:
        assert (await client.get(URL)).json() == {"a": 1}
    async with httpx.AsyncClient(transport=sending(body(), *encodings)) as client:
        assert (await Upstream("https://api.test", "secret", client).get("/x")).json() == {"a": 1}


async def test_a_large_answer_comes_through_whole() -> None:
    data = b"".join(str(n).encode() for n in range(150_000))
    async with http_client.client(sending(Parts(gzip.compress(data)), "gzip")) as client:
        assert (await Upstream("https://api.test", "secret", client).get("/x", max_bytes=len(data))).content == data
    async with http_client.client(sending(Parts(gzip.compress(data)), "gzip")) as client:
        assert (await client.get(URL)).content == data


async def test_an_answer_without_a_body_may_name_the_coding_that_it_would_have() -> None:
    async with http_client.client(sending(Parts(), "gzip")) as client:
        assert (await client.head(URL)).content == b""
        assert (await Upstream("https://api.test", "secret", client).request("HEAD", "/x")).content == b""


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("br", b"\x8b\x00\x80{}\x03"),
        ("zstd", b"x"),
        ("gzip", b'{"a": 1}'),
        ("gzip", gzip.compress(b'{"a": 1}', mtime=0)[:-9]),
        ("gzip", gzip.compress(b"{", mtime=0) + gzip.compress(b"}", mtime=0)),
        ("deflate", b"\xff" * 20),
    ],
)
async def test_what_cannot_be_decoded_is_an_error_of_the_upstream(encoding: str, data: bytes) -> None:
    async with http_client.client(sending(Parts(data), encoding)) as client:
        with pytest.raises(UpstreamError, match="compressed in a way that is not taken, or broken"):
            await Upstream("https://api.test", "secret", client).get("/x")


async def test_identity_providers_are_asked_for_nothing_compressed_and_it_is_not_taken() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Parts(gzip.compress(b"{}")))

    async with http_client.client(httpx.MockTransport(answer)) as client:
        with pytest.raises(UpstreamError, match="compressed"):
            await exchange(client, client.build_request("GET", URL), timeout_s=5, max_bytes=100)
        assert (await client.get(URL)).json() == {}
    assert asked == ["identity", "gzip, deflate"]


async def test_headers_without_end_are_given_up() -> None:
    sent = 0

    async def serve(stream: SocketStream) -> None:
        nonlocal sent
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\n")
            try:
                while True:
                    await stream.send(line := b"x-a: " + b"a" * 1000 + b"\r\n")
                    sent += len(line)
            except anyio.BrokenResourceError:
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with http_client.client() as client:
            with pytest.raises(UpstreamError, match="could not be reached, or broke off"):
                await Upstream(f"http://127.0.0.1:{port}", "secret", client).get("/x", timeout_s=60)
        tasks.cancel_scope.cancel()
    assert sent < 32 * 1024 * 1024  # what a kernel buffers, and no more
