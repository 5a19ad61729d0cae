"""Clients that do not read hold neither a connection nor memory for long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from mcp_edge.hosts.cli import connections
from mcp_edge.hosts.cli.connections import LinkedAccounts
from mcp_edge.protocol import networks, sse
from mcp_edge.protocol.request import PRINCIPAL
from tests.hosts.cli.edge import GET, LARGE, MIB, Edge, serving, stream, until

pytestmark = [pytest.mark.anyio, pytest.mark.serial]


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with much; the path names the user."""
    scope[PRINCIPAL] = scope["path"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
    await send({"type": "http.response.body", "body": b"x" * LARGE})


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


# -- who gives way ----------------------------------------------------------------------------------------------------


class Fake:
    """A connection that is what the test says."""

    def __init__(self, network: str, principal: str = "", waiting: int = 0) -> None:
        self.networks = networks.of_one(network)
        self.principal = principal
        self.waiting = waiting
        self.taken = 0
        self.busy = True

    def abort(self) -> None:
        """Forget what waits."""
        self.waiting = -1


def test_who_has_waited_longest_gives_way_in_the_network_or_the_user_that_has_too_much() -> None:
    all_of = LinkedAccounts(100)
    of_one = connections.MAX_WAITING_OF_ONE // 2 + 1
    addresses = "2001:db8:1::1", "2001:db8:2::1", "192.0.2.1", "2001:db8:2:ffff::1"
    slow = [Fake(address, user, of_one) for address, user in zip(addresses, "xyxz", strict=True)]
    for connection in slow:
        all_of.slow(connection)
    assert [connection.waiting for connection in slow] == [-1, -1, of_one, of_one]
    largest = Fake("192.0.2.2", "d", connections.MAX_WAITING * 2)
    all_of.slow(largest)
    assert [connection.waiting for connection in slow] == [-1, -1, -1, -1]
    assert largest.waiting == connections.MAX_WAITING * 2
