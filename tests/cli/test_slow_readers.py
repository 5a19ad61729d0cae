"""Clients that do not read hold neither a connection nor memory for long, and connections are not without number."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from mcp_edge import sse
from mcp_edge.cli import connections
from mcp_edge.cli.connections import Connections, network_of
from mcp_edge.request import PRINCIPAL, Request
from tests.cli.edge import Edge, Peer, serving, until

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 16 * MIB
"""More than the kernel keeps of one connection."""


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with much; the path names the user."""
    scope[PRINCIPAL] = scope["path"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
    await send({"type": "http.response.body", "body": b"x" * LARGE})


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Begins an event stream, and sends a little more when the client has left, or as the path says: much."""
    writer = sse.Writer(Request(scope, receive, send))
    await writer.start()
    await writer.send(sse.frame(b"first"))
    if scope["path"] == "/much":
        for _ in range(LARGE // MIB):
            await writer.send(sse.frame(b"x" * MIB))
        await writer.end(sse.frame(b"last"))
    else:
        while (await receive())["type"] != "http.disconnect":
            pass


@asynccontextmanager
async def unread(edge: Edge, sent: bytes = GET, room: int = 4096) -> AsyncGenerator[socket.socket]:
    """A client that has sent and does not read, with `room` for what it has not read."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", edge.port))
        await loop.sock_sendall(client, sent)
        yield client


def waiting(edge: Edge) -> int:
    """Bytes that wait for clients."""
    return sum(connection.waiting for connection in edge.connections)


# -- no progress ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [GET, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), GET * 50])
async def test_a_client_that_does_not_read_is_cut_off(sent: bytes) -> None:
    async with serving(large, stall_s=0.2) as edge, unread(edge, sent):
        await until(lambda: waiting(edge))
        await until(lambda: not edge.connections)


async def test_what_a_client_has_not_read_is_not_added_to() -> None:
    async with serving(large) as edge, unread(edge, GET * 50):
        await until(lambda: waiting(edge))
        await asyncio.sleep(0.1)
        assert waiting(edge) <= LARGE
        assert edge.server.server_state.total_requests == 1


async def test_a_slow_client_gets_everything_and_then_what_it_asked_for_next() -> None:
    async with serving(large, stall_s=1.5) as edge, unread(edge, GET * 2, MIB) as client:
        loop, got = asyncio.get_running_loop(), 0
        while got < 2 * LARGE:  # 130 pauses, each shorter than what is allowed, much longer in sum
            got += len(await loop.sock_recv(client, MIB // 4))
            await asyncio.sleep(0.02)
        assert got < 2 * LARGE + 1000


async def test_a_client_with_nothing_to_read_stays() -> None:
    async with serving(stream, stall_s=0.05) as edge:
        reader, writer = await edge.connect()
        writer.write(GET)
        await reader.readuntil(b"first")
        await asyncio.sleep(0.5)
        assert len(edge.connections) == 1
        writer.close()
        await until(lambda: not edge.connections)


async def test_a_stream_whose_client_does_not_read_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STALL_S", 0.05)
    much = GET.replace(b"/ ", b"/much ", 1)
    async with serving(stream, stall_s=0.2) as edge, unread(edge, much):
        await until(lambda: waiting(edge))
        await until(lambda: not edge.connections and not edge.server.server_state.tasks)


async def test_a_stream_whose_client_reads_slowly_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STALL_S", 1)
    much = GET.replace(b"/ ", b"/much ", 1)
    async with serving(stream, stall_s=5) as edge, unread(edge, much, MIB // 2) as client:
        loop, got = asyncio.get_running_loop(), b""
        while b"last" not in got:
            got = got[-10:] + await loop.sock_recv(client, MIB // 8)
            assert len(got) > 10  # it has not ended
            await asyncio.sleep(0.01)


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "paths", "left"),
    [("MAX_WAITING", 4, 1), ("MAX_WAITING_OF_ONE", 1, 1), ("MAX_WAITING_OF_ONE", 4, 1)],
    ids=["sum", "principal", "network"],
)
async def test_answers_that_wait_for_clients_give_way_to_new_ones(
    monkeypatch: pytest.MonkeyPatch, limit: str, paths: int, left: int
) -> None:
    monkeypatch.setattr(connections, limit, MIB)
    settings = {"client_address_header": "X-Real-IP"} if paths == 1 else {}
    async with serving(large, **settings) as edge:
        clients = [unread(edge, GET.replace(b"/ ", b"/%d " % (n % paths), 1)) for n in range(4)]
        for client in clients:
            await client.__aenter__()
            await until(lambda: edge.server.server_state.total_requests)
        await until(lambda: 0 < waiting(edge) <= LARGE and len(edge.connections) == left)
        for client in clients:
            await client.__aexit__(None, None, None)


async def test_answers_of_several_users_wait_side_by_side() -> None:
    a, b = (GET.replace(b"/ ", path, 1) for path in (b"/a ", b"/b "))
    async with serving(large, client_address_header="X-Real-IP") as edge, unread(edge, a), unread(edge, b):
        await until(lambda: len([c for c in edge.connections if c.waiting > MIB]) == 2)


# -- number -----------------------------------------------------------------------------------------------------------


async def busy(edge: Edge, address: str = "127.0.0.1") -> Peer:
    """A connection with a stream on it."""
    peer = await edge.connect(address)
    peer[1].write(GET)
    await peer[0].readuntil(b"first")
    return peer


async def idle(edge: Edge, address: str = "127.0.0.1") -> Peer:
    """A connection without a request."""
    peer = await edge.connect(address)
    count = len(edge.connections)
    await until(lambda: len(edge.connections) >= count)
    return peer


async def test_when_all_connections_are_busy_new_ones_are_told_to_come_back() -> None:
    async with serving(stream, max_connections=4) as edge:
        peers = [await busy(edge, f"127.0.0.{n % 2 + 1}") for n in range(4)]
        reader, writer = await edge.connect("127.0.0.3")
        writer.write(GET + b"x" * 100_000)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nretry-after: 5\r\n" in answer.lower()
        peers.pop()[1].close()
        await until(lambda: len(edge.connections) == 3)
        peers.append(await busy(edge, "127.0.0.3"))
        for _, writer in peers:
            writer.close()


async def test_one_network_has_half_of_the_connections_unless_a_proxy_speaks_for_all() -> None:
    async with serving(stream, max_connections=4) as edge:
        peers = [await busy(edge) for _ in range(2)]
        assert (await edge.exchange(GET)).startswith(b"HTTP/1.1 503 ")
        peers.append(await busy(edge, "127.0.0.2"))
        for _, writer in peers:
            writer.close()
    async with serving(stream, max_connections=4, client_address_header="X-Real-IP") as edge:
        peers = [await busy(edge) for _ in range(4)]
        for _, writer in peers:
            writer.close()


async def test_connections_that_are_idle_give_way() -> None:
    async with serving(stream, max_connections=4) as edge:
        kept = await busy(edge)
        first, second, third = [await idle(edge, f"127.0.0.{n}") for n in (2, 2, 3)]
        newcomer = await busy(edge, "127.0.0.4")
        assert await first[0].read() == b""  # closed: it has been idle longest
        again = await busy(edge, "127.0.0.3")
        assert await second[0].read() == b""
        for _, writer in (kept, first, second, third, newcomer, again):
            writer.close()


async def test_a_crowd_is_turned_away_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FAREWELLS", 1)
    async with serving(stream, max_connections=2) as edge:
        peers = [await busy(edge, f"127.0.0.{n}") for n in (1, 2)]
        told = [await edge.connect("127.0.0.3") for _ in range(5)]
        answers = await asyncio.gather(*(reader.read() for reader, _ in told), return_exceptions=True)
        assert [answer for answer in answers if isinstance(answer, bytes) and answer.startswith(b"HTTP/1.1 503 ")]
        await until(lambda: len(edge.connections) <= 3)
        for _, writer in peers + told:
            writer.close()


def test_a_network_is_an_ipv4_address_or_half_of_an_ipv6_one() -> None:
    addresses = ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8:1:2:3:4:5:6", "fe80::1%eth0", "", "/run/socket")
    assert [network_of(address) for address in addresses] == [
        "192.0.2.1", "192.0.2.1", "2001:db8:1:2::/64", "fe80::/64", "", "",
    ]  # fmt: skip


class Fake:
    """A connection that is what the test says."""

    def __init__(self, network: str, principal: str = "", waiting: int = 0) -> None:
        self.network = network
        self.principal = principal
        self.waiting = waiting
        self.taken = 0
        self.busy = True

    def abort(self) -> None:
        """Forget what waits."""
        self.waiting = -1


def test_who_has_waited_longest_gives_way_in_the_network_or_the_user_that_has_too_much() -> None:
    all_of = Connections(100)
    of_one = connections.MAX_WAITING_OF_ONE // 2 + 1
    slow = [Fake("a", "x", of_one), Fake("b", "y", of_one), Fake("c", "x", of_one), Fake("b", "z", of_one)]
    for connection in slow:
        all_of.slow(connection)
    assert [connection.waiting for connection in slow] == [-1, -1, of_one, of_one]
    largest = Fake("d", "d", connections.MAX_WAITING * 2)
    all_of.slow(largest)
    assert [connection.waiting for connection in slow] == [-1, -1, -1, -1]
    assert largest.waiting == connections.MAX_WAITING * 2
