"""Connections are not without number, neither of one network nor of one user, and health is told when all are taken."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from hashlib import sha256

import pytest
from mcp.server.mcpserver import MCPServer
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from mcp_edge.app import create_app
from mcp_edge.hosts.cli import connections, http_protocol
from mcp_edge.hosts.cli.connections import LinkedAccounts
from mcp_edge.platform import Platform
from mcp_edge.protocol import networks
from mcp_edge.protocol.request import Request
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory
from tests.hosts.cli.edge import GET, Edge, Peer, echo, serving, stream, until

pytestmark = pytest.mark.anyio

READY = GET.replace(b"/ ", b"/readyz ", 1)
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """Echoes for the user in a header, says that it is ready, and streams everything else."""
    request = Request(scope, receive, send)
    user = request.headers.get("user", "")
    if user and not request.claim(user):
        await request.answer(429)
    elif scope["path"] == "/echo":
        await echo(scope, receive, send)
    elif scope["path"] in ("/healthz", "/readyz"):
        await request.answer(200, b"{}")
    else:
        await stream(scope, receive, send)


def close(*peers: Peer) -> None:
    """End them."""
    for _, writer in peers:
        writer.close()


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


# -- those that have no place -----------------------------------------------------------------------------------------


async def knock(edge: Edge, address: str, sent: bytes = b"") -> Peer:
    """A connection that sends, and never ends its side or reads."""
    peer = await edge.connect(address)
    peer[1].write(sent)
    return peer


@pytest.mark.parametrize("sent", [b"", GET[:10], GET + b"x" * 1000, b"x" * 20_000, READY[:-2]], ids=range(5))
async def test_those_that_are_refused_take_no_place_of_others(sent: bytes) -> None:
    async with serving(site, max_connections=20) as edge:
        peers = [await busy(edge) for _ in range(10)]
        for _ in range(40):
            peers.append(await knock(edge, "127.0.0.1", sent))
            await asyncio.sleep(0)
        await until(lambda: len(edge.connections) <= 10 + connections.FAREWELLS_OF_ONE)
        for _ in range(10):
            peers.append(await busy(edge, "127.0.0.2"))
        close(*peers)


async def test_those_that_say_nothing_are_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "FAREWELL_S", 0.05)
    async with serving(site, max_connections=2) as edge:
        first = await busy(edge)
        for sent in (b"", READY[:-2], b"GET"):
            reader, writer = await knock(edge, "127.0.0.1", sent)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
        close(first)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.3"])
async def test_a_full_process_tells_how_it_is_once_per_connection(address: str) -> None:
    async with serving(site, max_connections=4) as edge:
        peers = [await busy(edge, f"127.0.0.{n % 2 + 1}") for n in range(4)]
        for path in (b"/readyz", b"/healthz", b"/readyz?verbose", b"/%72eadyz"):
            for rest in (GET, POST + b"\r\nhello", b"\0", READY):
                reader, writer = await knock(edge, address, READY.replace(b"/readyz", path) + rest)
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"\r\nconnection: close\r\n" in answer.lower()
                assert answer.count(b"HTTP/1.1 ") == 1
                writer.close()
        for path in (b"/readyz/", b"//readyz", b"/ready", b"/?/readyz", b"/mcp"):
            assert (await edge.exchange(READY.replace(b"/readyz", path))).startswith(b"HTTP/1.1 503 ")
        endless = await knock(edge, address, POST.replace(b"/echo", b"/readyz") + b"\r\n")
        assert (await endless[0].read()).startswith(b"HTTP/1.1 200 ")
        close(*peers, endless)


async def test_who_asks_how_it_is_does_not_wait_for_those_that_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FAREWELLS", 6)
    monkeypatch.setattr(connections, "FAREWELLS_OF_ONE", 2)
    async with serving(site, max_connections=4) as edge:
        peers = [await busy(edge, f"127.0.0.{n % 2 + 1}") for n in range(4)]
        for n in range(10):
            peers.append(await knock(edge, f"127.0.1.{n}"))
            answer = await edge.exchange(READY)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert len(edge.connections) <= 4 + 6 + 1
        close(*peers)


# -- networks ---------------------------------------------------------------------------------------------------------


class Fake:
    """A connection that is busy."""

    principal = ""
    waiting = taken = 0

    def __init__(self, address: str, *, busy: bool = True) -> None:
        self.networks = networks.of_one(address)
        self.busy = busy
        self.aborted = False

    def abort(self) -> None:
        """Note that it was closed."""
        self.aborted = True


def admitted(all_of: LinkedAccounts, *addresses: str) -> int:
    """How many of those that come from these addresses in turns have a place, until one has none."""
    count = 0
    while all_of.admit(Fake(addresses[count % len(addresses)])):
        count += 1
    return count


@pytest.mark.parametrize(
    ("addresses", "most"),
    [
        (["192.0.2.1"], 32),
        (["192.0.2.1", "192.0.2.2"], 64),
        (["2001:db8::1"], 8),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1"], 8),
        (["2001:db8:0:2::1", "2001:db8:0:3::1"], 16),
        ([f"2001:db8:0:{n:x}::1" for n in range(256)], 16),
        ([f"2001:db8:0:{n:x}00::1" for n in range(256)], 32),
        ([f"2001:db8:0:{n:x}::1" for n in range(0, 65_536, 97)], 32),
    ],
    ids=["address", "two", "/64", "in a /64", "/63", "/56", "/48", "all of a /48"],
)
def test_one_stranger_has_half_of_the_connections_at_most(addresses: list[str], most: int) -> None:
    all_of = LinkedAccounts(64)
    assert admitted(all_of, *addresses) == most
    assert all_of.admit(Fake("2001:db8:ffff::1")) is (most < 64)
    if most == 16:
        assert all_of.admit(Fake("2001:db8:0:ff00::1"))  # a neighbour


def test_the_idle_ones_of_any_network_around_give_way_to_new_ones() -> None:
    all_of = LinkedAccounts(16)
    other, first = Fake("192.0.2.1", busy=False), Fake("2001:db8:0:100::1", busy=False)
    assert all_of.admit(other)
    assert all_of.admit(first)
    for n in range(2, 9):
        assert all_of.admit(Fake(f"2001:db8:0:{n:x}00::1"))
    assert not first.aborted
    assert all_of.admit(Fake("2001:db8:0:900::1"))
    assert first.aborted
    assert not other.aborted
    assert not all_of.admit(Fake("2001:db8:0:a00::1"))


def test_a_connection_that_is_lost_gives_its_place_back_once() -> None:
    all_of = LinkedAccounts(4)
    for address in ("192.0.2.1", "2001:db8::1"):
        for _ in range(20):
            one, two, none = Fake(address), Fake("192.0.2.7"), Fake(address)
            assert [all_of.admit(one), all_of.admit(two)] == [True, True]
            if address != "192.0.2.1":
                assert not all_of.admit(none)
            for connection in (one, two, none, one):
                all_of.lost(connection)


# -- users ------------------------------------------------------------------------------------------------------------


async def test_one_user_has_half_of_the_connections_from_wherever() -> None:
    async with serving(site, max_connections=8) as edge:
        unfinished = POST + b"User: bob\r\n\r\nhell"
        peers = [await knock(edge, f"127.0.0.{n + 1}", unfinished) for n in range(4)]
        await until(lambda: [c.principal for c in edge.connections] == ["bob"] * 4)
        refused = await edge.exchange(GET[:-2] + b"User: bob\r\nConnection: close\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 429 ")
        for user in (b"alice", b"carol"):
            answer = await edge.exchange(POST + b"User: " + user + b"\r\nConnection: close\r\n\r\nhello")
            assert answer.endswith(b"hello")
        peers[0][1].write(b"o")
        assert (await peers[0][0].readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        answer = await edge.exchange(POST + b"User: bob\r\nConnection: close\r\n\r\nhello")
        assert answer.endswith(b"hello")
        close(*peers)


async def test_connections_that_one_user_keeps_open_without_a_request_are_not_counted() -> None:
    async with serving(site, max_connections=8, client_address_header="X-Real-IP") as edge, AsyncExitStack() as stack:
        for _ in range(8):
            reader, writer = await edge.connect()
            stack.callback(writer.close)
            for _ in range(3):
                writer.write(POST + b"User: bob\r\n\r\nhello")
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        assert len(edge.connections) == 8


def test_answers_that_were_taken_meanwhile_count_no_more() -> None:
    all_of = LinkedAccounts(4)
    mine = [Fake(f"192.0.2.{n}") for n in range(4)]
    assert [all_of.claim(connection, "bob") for connection in mine] == [True, True, False, False]
    all_of.answered(mine[0])  # its client has not taken the answer
    assert not all_of.claim(mine[2], "bob")
    mine[0].busy = False
    assert [all_of.claim(mine[n], user) for n, user in ((2, "bob"), (3, "alice"))] == [True, True]
    assert not all_of.claim(mine[0], "bob")
    all_of.lost(mine[1])
    assert all_of.claim(mine[0], "bob")
    assert all_of.claim(mine[0], "bob")  # its next request


# -- as the server answers --------------------------------------------------------------------------------------------


async def test_a_user_with_too_many_requests_is_told_and_others_are_served() -> None:
    keys = {name: sha256(name.encode()).hexdigest() for name in ("bob", "alice")}
    settings = Settings(store="memory:", auth="keys", keys=keys, secret_keys=(SecretStr("s" * 32),))
    app = create_app(lambda _: MCPServer("small"), Platform(settings, *open_memory()))
    await app.start()
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'

    def post(user: bytes, body: bytes) -> bytes:
        fields = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        fields += b"Connection: close\r\nAuthorization: Bearer " + user
        return b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n%b\r\nContent-Length: 40\r\n\r\n%b" % (fields, body)

    async with serving(app, max_connections=8) as edge:
        peers = [await knock(edge, f"127.0.0.{n % 2 + 2}", post(b"bob", ping[:-1])) for n in range(4)]
        await until(lambda: len([c for c in edge.connections if c.principal]) == 4)
        refused = await edge.exchange(post(b"bob", ping))
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 5\r\n" in refused
        assert b"Too many requests of yours are under way" in refused
        assert b" 429 " not in await edge.exchange(post(b"alice", ping))
        close(*peers)
    await app.stop()
