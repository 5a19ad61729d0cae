"""URLs that strangers name reach the public internet, and nothing else.

No name is resolved and nothing outside loopback is connected to: the resolver is the test's own, and every connection
ends at a listener of the test's.
"""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcp_edge.outbound import lookups
from mcp_edge.outbound.lookups import ASKER, MOST_ABANDONED, MOST_OF_A_NETWORK, Asker
from mcp_edge.outbound.public_http import MOST_LOOKUPS, Busy, NotPublic, PublicTransport, is_public, resolve
from tests.support.strangers import INSIDE, PUBLIC, Names, Wire

pytestmark = pytest.mark.anyio

URL = "https://client.example/app.json"
OTHER = "1.1.1.1"


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_what_is_routed_everywhere_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_special_or_no_address_is_not(address: str) -> None:
    assert not is_public(address)


async def test_a_request_goes_to_the_address_that_was_checked_and_keeps_its_name() -> None:
    wire, names = Wire(), Names([PUBLIC])
    async with wire.client(names) as client:
        assert (await client.get(URL)).status_code == 200
    (sent,) = wire.sent
    assert names.asked == ["client.example"]
    assert (str(sent.url), sent.headers["host"]) == (f"https://{PUBLIC}/app.json", "client.example")
    assert sent.extensions["sni_hostname"] == "client.example"
    assert sent.headers["accept-encoding"] == "identity"


async def test_a_name_server_that_changes_its_mind_is_asked_only_once() -> None:
    wire, names = Wire(), Names([PUBLIC], ["127.0.0.1"])
    async with wire.client(names) as client:
        await client.get(URL)
        assert [request.url.host for request in wire.sent] == [PUBLIC]
        with pytest.raises(NotPublic):  # asked again for the next request, it is believed as little as before
            await client.get(URL)
    assert (len(names.asked), len(wire.sent)) == (2, 1)


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    wire = Wire()
    async with wire.client(Names([address])) as client:
        with pytest.raises(NotPublic):
            await client.get(URL)
    assert wire.sent == []


@pytest.mark.parametrize("answers", [[PUBLIC, "10.0.0.1"], ["::1", PUBLIC], [PUBLIC, OTHER, "169.254.169.254"]])
async def test_one_address_inside_among_public_ones_is_enough_to_refuse(answers: list[str]) -> None:
    wire = Wire()
    async with wire.client(Names(answers)) as client:
        with pytest.raises(NotPublic):
            await client.get(URL)
    assert wire.sent == []


async def test_a_name_without_an_address_cannot_be_connected_to() -> None:
    async with Wire().client(Names([])) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(URL)


async def test_another_address_is_tried_when_one_refuses_the_connection() -> None:
    wire = Wire(down=frozenset({PUBLIC}))
    async with wire.client(Names(["2606:4700::1111", PUBLIC, OTHER])) as client:
        assert (await client.get(URL)).status_code == 200
    assert [request.url.host for request in wire.sent] == [PUBLIC, OTHER]


async def test_a_server_that_is_down_everywhere_is_an_error() -> None:
    wire = Wire(down=frozenset({PUBLIC, OTHER}))
    async with wire.client(Names([PUBLIC, OTHER])) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(URL)


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/app.json",
        "ftp://client.example/app.json",
        "https://client.example:8443/app.json",
        "https://client.example:80/app.json",
        "https://user@client.example/app.json",
        "https://user:secret@client.example/app.json",
        "https://localhost/app.json",
        "https://metadata/app.json",
        "https://127.0.0.1/app.json",
        "https://93.184.215.14/app.json",
        "https://[::1]/app.json",
        "https://[2606:4700::1111]/app.json",
        "https://[::ffff:127.0.0.1]/app.json",
        "https://2130706433/app.json",
        "https://0x7f000001/app.json",
        "https://0x7f.1/app.json",
        "https://0x7f.0x0.0x0.0x1/app.json",
        "https://0177.0.0.1/app.json",
        "https://127.1/app.json",
        "https://127.0.0.1./app.json",
        "https://localhost./app.json",
        "https://client.example./app.json",
        "https://client..example/app.json",
        "https://client.example%00.evil/app.json",
    ],
)
@pytest.mark.parametrize("resolved", [True, False])
async def test_a_url_that_names_no_public_server_is_refused_before_anything_is_asked(url: str, resolved: bool) -> None:
    wire, names = Wire(), Names([PUBLIC])
    async with wire.client(names if resolved else None) as client:
        with pytest.raises((NotPublic, httpx.InvalidURL)):
            await client.get(url)
    assert (wire.sent, names.asked) == ([], [])


async def test_where_the_platform_resolves_the_request_goes_out_as_it_is() -> None:
    wire = Wire()
    async with wire.client(None) as client:
        await client.get(URL)
    assert [str(request.url) for request in wire.sent] == [URL]


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    wire = Wire(lambda _: httpx.Response(302, headers={"location": "https://169.254.169.254/"}))
    async with wire.client(Names([PUBLIC])) as client:
        assert (await client.get(URL)).status_code == 302
    assert len(wire.sent) == 1


async def test_who_follows_a_redirect_all_the_same_gets_no_further_inside() -> None:
    wire = Wire(lambda _: httpx.Response(302, headers={"location": "https://inside.example/"}))
    async with wire.client(Names([PUBLIC], ["10.0.0.1"])) as client:
        with pytest.raises(NotPublic):
            await client.get(URL, follow_redirects=True)
    assert len(wire.sent) == 1


async def test_a_compressed_answer_is_not_read() -> None:
    read = False

    async def bomb() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"\x1f\x8b"

    wire = Wire(lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, content=bomb()))
    async with wire.client(Names([PUBLIC])) as client:
        with pytest.raises(httpx.DecodingError):
            await client.get(URL)
    assert not read


async def test_no_cookie_is_kept() -> None:
    wire = Wire(lambda _: httpx.Response(200, headers={"set-cookie": "a=b"}))
    async with wire.client(Names([PUBLIC])) as client:
        await client.get(URL)
        await client.get(URL)
    assert [request.headers.get("cookie") for request in wire.sent] == [None, None]


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    wire = Wire()
    async with wire.client(Names([PUBLIC])) as client:
        await client.get(URL)
    assert len(wire.sent) == 1


# -- names whose server is slow ----------------------------------------------------------------------------------------


class SlowNames:
    """The system's lookup: names under slow.example are answered when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = threading.Event()
        self.waiting = threading.Semaphore(0)
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str | bytes, port: int, *_: Any, **__: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name.endswith(".slow.example"):
            self.waiting.release()
            assert self.answer.wait(30)
        if name.endswith(".nowhere.example"):
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, port))] * 2


async def test_the_system_s_addresses_of_a_name_are_each_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    SlowNames(monkeypatch)
    assert await resolve("client.example") == [PUBLIC]
    with pytest.raises(OSError, match="no such name"):
        await resolve("a.nowhere.example")
    for _ in range(2 * MOST_LOOKUPS):  # each gives its place back, whatever came of it
        assert await resolve("client.example") == [PUBLIC]
        with pytest.raises(OSError, match="no such name"):
            await resolve("b.nowhere.example")


async def resolved_for(asker: Asker | None, host: str) -> object:
    """What becomes of a lookup."""
    ASKER.set(asker)
    try:
        return await resolve(host)
    except Busy:
        return Busy


class Strangers:
    """Lookups that their askers have begun, and may give up."""

    def __init__(self, names: SlowNames, group: anyio.abc.TaskGroup) -> None:
        self._names = names
        self._group = group
        self.scopes: list[anyio.CancelScope] = []

    async def begin(self, count: int, asker: Asker | None = None) -> None:
        for _ in range(count):
            self._group.start_soon(self._one, f"{len(self.scopes)}.slow.example", asker)
            assert await anyio.to_thread.run_sync(self._names.waiting.acquire, True, 10)

    async def _one(self, host: str, asker: Asker | None) -> None:
        with anyio.CancelScope() as scope:
            self.scopes.append(scope)
            await resolved_for(asker, host)

    async def give_up(self) -> None:
        for scope in self.scopes:
            scope.cancel()
        self.scopes.clear()
        await anyio.wait_all_tasks_blocked()


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Strangers]:
    """Names whose servers say nothing until the test has ended; then every place is free again."""
    monkeypatch.setattr(lookups, "_THREADS", lookups._Threads())  # pyright: ignore[reportPrivateUsage] # this test's own
    names = SlowNames(monkeypatch)
    async with anyio.create_task_group() as group:
        strangers = Strangers(names, group)
        try:
            yield strangers
        finally:
            names.answer.set()
            group.cancel_scope.cancel()


HOME, AWAY = Asker("2001:db8:1::/48"), Asker("2001:db8:2::/48")
KNOWN = Asker("2001:db8:3::/48", known=True)


async def test_slow_names_of_strangers_keep_nobody_else_from_resolving_and_are_bounded(slow: Strangers) -> None:
    await slow.begin(MOST_LOOKUPS)
    with anyio.fail_after(5):
        assert await resolved_for(None, "client.example") is Busy
        assert await resolved_for(KNOWN, "client.example") == [PUBLIC]  # places are kept for what was reached before
        assert (
            len(await anyio.getaddrinfo("provider.example", 443)) > 0
        )  # the event loop's own, as for every other host


async def test_a_place_is_free_again_as_soon_as_nobody_waits_for_it(slow: Strangers) -> None:
    await slow.begin(MOST_LOOKUPS)
    await slow.give_up()
    with anyio.fail_after(5):
        assert await resolved_for(None, "client.example") == [PUBLIC]


async def test_lookups_that_nobody_waits_for_are_bounded_in_sum(slow: Strangers) -> None:
    for _ in range(MOST_ABANDONED // MOST_LOOKUPS):
        await slow.begin(MOST_LOOKUPS)
        await slow.give_up()
    with anyio.fail_after(5):
        assert await resolved_for(None, "client.example") is Busy
        assert await resolved_for(KNOWN, "client.example") == [PUBLIC]


@pytest.mark.parametrize("abandoned", [True, False])
async def test_one_network_has_few_lookups_whether_it_waits_for_them_or_not(slow: Strangers, abandoned: bool) -> None:
    await slow.begin(MOST_OF_A_NETWORK, HOME)
    if abandoned:
        await slow.give_up()
    with anyio.fail_after(5):
        assert await resolved_for(HOME, "client.example") is Busy
        assert await resolved_for(AWAY, "client.example") == [PUBLIC]


async def test_when_a_lookup_has_ended_at_last_its_network_may_ask_again(
    slow: Strangers, monkeypatch: pytest.MonkeyPatch
) -> None:
    del slow
    names = SlowNames(monkeypatch)
    async with anyio.create_task_group() as group:
        strangers = Strangers(names, group)
        await strangers.begin(MOST_OF_A_NETWORK, HOME)
        await strangers.give_up()
        names.answer.set()
        with anyio.fail_after(10):
            while await resolved_for(HOME, "client.example") is Busy:
                await anyio.sleep(0.001)


async def test_a_name_server_that_says_nothing_is_an_error_in_time(
    slow: Strangers, monkeypatch: pytest.MonkeyPatch
) -> None:
    del slow
    monkeypatch.setattr(lookups, "TIMEOUT_S", 0.01)
    with anyio.fail_after(10), pytest.raises(TimeoutError):  # an OSError
        await resolve("a.slow.example")


async def test_a_lookup_that_finds_no_place_is_an_error_of_the_request() -> None:
    async def full(host: str) -> list[str]:
        raise Busy(host)

    wire = Wire()
    async with httpx.AsyncClient(transport=PublicTransport(wire.transport(), full)) as client:
        with pytest.raises(Busy):
            await client.get(URL)
    assert wire.sent == []


# -- over TLS, to a listener -------------------------------------------------------------------------------------------


@dataclass
class Listener:
    """A TLS server on loopback that counts its connections, and the names that clients ask it for."""

    port: int = 0
    connections: int = 0
    names: list[str | None] = field(default_factory=list[str | None])
    requests: list[bytes] = field(default_factory=list[bytes])

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}")
            await writer.drain()
        finally:
            writer.close()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for `name`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return cert_file, key_file


@asynccontextmanager
async def listening(folder: Path, name: str) -> AsyncGenerator[tuple[Listener, ssl.SSLContext]]:
    """A listener whose certificate is for `name`, and the context of a client that trusts it."""
    cert_file, key_file = certificate(folder, name)
    listener = Listener()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)

    def greet(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        listener.names.append(name)

    context.sni_callback = greet  # pyright: ignore[reportAttributeAccessIssue] # its type knows sockets only
    server = await asyncio.start_server(listener, "127.0.0.1", 0, ssl=context)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener, ssl.create_default_context(cafile=cert_file)


class Detour(httpcore.AsyncNetworkBackend):
    """A network in which every address leads to the listener. It keeps where connections were meant to go."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._real: Any = httpcore.AnyIOBackend()
        self.meant: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.meant.append((host, port))
        self._listener.connections += 1
        return await self._real.connect_tcp("127.0.0.1", self._listener.port, timeout)


def over(detour: Detour, trusted: ssl.SSLContext, names: Names) -> httpx.AsyncClient:
    sender = httpx.AsyncHTTPTransport(trust_env=False)
    sender._pool = httpcore.AsyncConnectionPool(ssl_context=trusted, network_backend=detour)  # pyright: ignore[reportPrivateUsage] # httpx has no parameter for it
    return httpx.AsyncClient(transport=PublicTransport(sender, names), trust_env=False)


async def test_tls_verifies_the_name_though_the_connection_goes_to_an_address(tmp_path: Path) -> None:
    async with listening(tmp_path, "client.example") as (listener, trusted):
        detour = Detour(listener)
        async with over(detour, trusted, Names([PUBLIC])) as client:
            assert (await client.get(URL)).json() == {}
    assert (detour.meant, listener.names) == ([(PUBLIC, 443)], ["client.example"])
    assert b"\r\nhost: client.example\r\n" in listener.requests[0].lower()


async def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    async with listening(tmp_path, "other.example") as (listener, trusted):
        async with over(Detour(listener), trusted, Names([PUBLIC])) as client:
            with pytest.raises(httpx.ConnectError, match=r"not valid for 'client\.example'"):
                await client.get(URL)
        assert listener.requests == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00:ec2::254"])
async def test_the_listener_inside_sees_no_connection(tmp_path: Path, address: str) -> None:
    async with listening(tmp_path, "client.example") as (listener, trusted):
        detour = Detour(listener)
        async with over(detour, trusted, Names([PUBLIC, address])) as client:
            with pytest.raises(NotPublic):
                await client.get(URL)
        assert (listener.connections, detour.meant) == (0, [])
