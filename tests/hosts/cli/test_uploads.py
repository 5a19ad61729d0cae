"""What clients send bit by bit is bounded in bytes: of one user, for one network, and in sum."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from mcp_edge.hosts.cli import uploads
from mcp_edge.hosts.cli.uploads import Uploads
from mcp_edge.protocol.request import Gone, Request
from tests.hosts.cli.edge import MIB, Edge, Peer, serving, until

pytestmark = pytest.mark.anyio

KIB = 1024


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how long the body is, for the user in a header; on /wait only when the client has left."""
    request = Request(scope, receive, send)
    if "user" in request.headers:
        request.claim(request.headers["user"])
    try:
        body = await request.body(4 * MIB)
    except Gone:
        return
    if request.path == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
    else:
        await request.answer(200, b"%d" % len(body))


def post(fields: bytes = b"", size: int = 4 * MIB, path: bytes = b"/") -> bytes:
    """The head of a POST."""
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n" % (path, fields, size)


def kept(edge: Edge) -> int:
    """Bytes that connections keep of what they were sent."""
    return sum(connection.conn.kept for connection in edge.connections if not connection.transport.closing)


@asynccontextmanager
async def uploading(**settings: Any) -> AsyncGenerator[tuple[Edge, list[Peer]]]:
    """A server, and the connections to it that are to be closed."""
    peers: list[Peer] = []
    async with serving(site, **settings) as edge:
        try:
            yield edge, peers
        finally:
            for _, writer in peers:
                writer.close()
        await until(lambda: not edge.connections)
    held = edge.server._connections.uploads  # pyright: ignore[reportPrivateUsage] # nothing may be left in the counts
    assert not any((held._held, held._sum, held._sizes, held._counts))  # pyright: ignore[reportPrivateUsage] # as above


async def begin(edge: Edge, peers: list[Peer], head: bytes, size: int, address: str = "127.0.0.1") -> Peer:
    """A request of which `size` bytes have arrived after its head."""
    peer = await edge.connect(address)
    peers.append(peer)
    before = {connection for connection in edge.connections if connection.conn.kept}
    peer[1].write(head)
    await asyncio.sleep(0.01)  # the body comes after its head
    peer[1].write(b"x" * size)

    def arrived() -> bool:
        new = [connection for connection in edge.connections if connection not in before and connection.scope]
        return peer[0].at_eof() or any(c.transport.closing or c.conn.kept >= size for c in new)

    await until(arrived)
    return peer


async def status(peer: Peer) -> bytes:
    """That of the answer, whose connection ends."""
    return (await peer[0].read()).split(b" ", 2)[1]


@pytest.mark.parametrize("of_one", ["user", "network", "chunked", "stated"])
async def test_of_one_user_or_network_the_oldest_unfinished_requests_give_way(
    monkeypatch: pytest.MonkeyPatch, of_one: str
) -> None:
    monkeypatch.setattr(uploads, "MAX_HELD_OF_ONE", MIB)
    settings = {"client_address_header": "X-Real-IP"} if of_one == "stated" else {}
    head = {
        "user": post(b"User: bob\r\n"),
        "network": post(),
        "chunked": post().replace(b"Content-Length: 4194304", b"Transfer-Encoding: chunked") + b"400000\r\n",
        "stated": post(b"X-Real-IP: 2001:db8::1\r\n"),
    }[of_one]
    async with uploading(**settings) as (edge, peers):
        other = await begin(edge, peers, post(b"User: alice\r\nX-Real-IP: 192.0.2.1\r\n"), 900 * KIB, "127.0.0.9")
        for n in range(6):
            await begin(edge, peers, head, 300 * KIB, f"127.0.0.{n % 2 + 1}" if of_one == "user" else "127.0.0.1")
            assert kept(edge) <= MIB + 900 * KIB
        for peer in peers[1:4]:
            answer = await peer[0].read()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 5\r\n" in answer
        other[1].write(b"x" * (4 * MIB - 900 * KIB))  # the only one of its user may be as large as any
        assert (await other[0].readuntil(b"4194304")).startswith(b"HTTP/1.1 200 ")


async def test_in_sum_who_has_the_most_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_HELD", MIB)
    async with uploading() as (edge, peers):
        other = await begin(edge, peers, post(b"User: alice\r\n", 200 * KIB), 150 * KIB, "127.0.0.9")
        for n in range(6):
            await begin(edge, peers, post(b"User: bob%d\r\n" % n), 300 * KIB, f"127.0.0.{n + 1}")
            assert kept(edge) <= MIB
        assert [await status(peer) for peer in peers[1:5]] == [b"503"] * 4
        other[1].write(b"x" * 50 * KIB)
        assert (await other[0].readuntil(b"204800")).startswith(b"HTTP/1.1 200 ")


async def test_requests_that_have_arrived_are_served_and_new_ones_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_HELD_OF_ONE", MIB)
    async with uploading() as (edge, peers):
        for _ in range(3):
            await begin(edge, peers, post(b"User: bob\r\n", 300 * KIB, b"/wait"), 300 * KIB)
        for _ in range(3):
            assert await status(await begin(edge, peers, post(b"User: bob\r\n"), 300 * KIB)) == b"503"
        peers[0][1].close()
        await until(lambda: kept(edge) <= 600 * KIB)
        peers.append(await edge.connect())
        peers[-1][1].write(post(b"User: bob\r\n", 300 * KIB) + b"x" * 300 * KIB)
        assert (await peers[-1][0].readuntil(b"307200")).startswith(b"HTTP/1.1 200 ")


async def test_behind_a_proxy_one_client_has_half_of_the_connections_for_requests_that_do_not_end() -> None:
    async with uploading(max_connections=8, client_address_header="X-Real-IP") as (edge, peers):
        for _ in range(4):
            await begin(edge, peers, post(b"X-Real-IP: 192.0.2.1\r\n"), 1)
        await begin(edge, peers, post(b"X-Real-IP: 192.0.2.2\r\n"), 1)
        await begin(edge, peers, post(b"X-Real-IP: 192.0.2.1\r\n"), 1)
        assert await status(peers[0]) == b"503"
        assert not any(peer[0].at_eof() for peer in peers[1:])


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000, post(size=0, path=b"/wait") + b"x" * 20_000]
)
async def test_what_comes_before_or_after_a_whole_request_counts_too(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(uploads, "MAX_HELD_OF_ONE", 50_000)
    async with uploading() as (edge, peers):
        for n in range(5):
            peers.append(await edge.connect())
            peers[-1][1].write(sent)
            await until(lambda n=n: len(edge.connections) > n or edge.server.server_state.total_requests)
        for peer in peers[:3]:
            await peer[0].read()
        assert kept(edge) <= 50_000


async def test_a_request_in_one_piece_is_not_counted_and_bodies_in_pieces_are_until_their_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    hold = Uploads.hold

    def counted(self: Uploads, upload: Any, size: int) -> None:
        calls.append(size)
        hold(self, upload, size)

    monkeypatch.setattr(Uploads, "hold", counted)
    async with uploading() as (edge, peers):
        peers.append(await edge.connect())
        reader, writer = peers[0]
        for _ in range(3):
            writer.write(post(size=1000) + b"x" * 1000)
            await reader.readuntil(b"\r\n\r\n1000")
        assert not calls
        for _ in range(3):
            writer.write(post(size=4 * MIB) + b"x" * 4 * MIB)
            await reader.readuntil(b"\r\n\r\n4194304")
            assert max(calls) <= 4 * MIB
            assert kept(edge) == 0


def test_no_one_is_cut_off_for_what_others_have() -> None:
    class Fake:
        def __init__(self, *owners: str) -> None:
            self.owners = owners
            self.unfinished = True
            self.cuts = 0

        def cut(self) -> None:
            self.cuts += 1

    held = Uploads(100)
    strangers = [Fake("network a") for _ in range(8)]
    user = Fake("user bob", "network b")
    for upload in (user, *strangers):
        held.hold(upload, 16 * MIB)
    assert [upload.cuts for upload in (user, *strangers)] == [0, 1, 1, 1, 1, 1, 1, 0, 0]
    late = [Fake("network c"), Fake("network c"), Fake("network d"), Fake("network d"), Fake("network e")]
    for upload in late:
        held.hold(upload, 16 * MIB)
    assert [upload.cuts for upload in (user, *strangers[6:], *late)] == [0] * 8
    held.hold(nobody := Fake(), 16 * MIB)  # 144 MiB are too much
    assert [upload.cuts for upload in (user, *strangers[6:], *late, nobody)] == [0, 1, 0, 0, 0, 0, 0, 0, 0]
