"""A strict per-request round robin over HTTP/1.1 backends on loopback. It knows neither MCP nor sessions.

Each request, also on one kept-alive client connection, goes to the next backend in turn over a connection of its own.
Bytes stream both ways unbuffered, an end on either side reaches the other at once, and nothing is retried but a refused
connection, on which nothing was sent yet.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import h11

CHUNK = 65536
MAX_HEAD = 1024 * 1024
"""Large, so that a limit on headers is the backend's to enforce."""
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection"})


class _Peer:
    """One side of an exchange: a socket and its HTTP state."""

    def __init__(
        self, role: type[h11.CLIENT] | type[h11.SERVER], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD)
        self.reader = reader
        self.writer = writer

    async def receive(self) -> h11.Event | type[h11.PAUSED]:
        """The next HTTP event, read from the socket if need be.

        Raises:
            OSError: the connection was reset.
            h11.RemoteProtocolError: the peer broke HTTP, or left in the middle of a message.
        """
        while True:
            event = self.http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                return h11.PAUSED
            self.http.receive_data(await self.reader.read(CHUNK))

    async def send(self, event: h11.Event) -> None:
        """Write `event` now, and wait while the peer's window is full."""
        if data := self.http.send(event):
            self.writer.write(data)
            await self.writer.drain()

    async def gone(self) -> None:
        """Return when the peer ends its side; what it pipelines meanwhile is kept for the next cycle."""
        while data := await self.reader.read(CHUNK):
            self.http.receive_data(data)

    def reset(self) -> None:
        """End the connection with RST, as a killed process does."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(slots=True)
class Exchange:
    """One request that passed, as a test looks back on it."""

    method: str
    path: str
    port: int
    """The backend that took it."""
    resumes: bool
    """It names a `Last-Event-ID`."""
    status: int | None = None
    """The answer's, once its head has passed."""


class RoundRobin:
    """The proxy, in a thread of its own while the context is open. `url` is its address on loopback."""

    def __init__(
        self,
        backends: Sequence[int],
        *,
        check_s: float | None = None,
        tls: ssl.SSLContext | None = None,
        name: str = "localhost",
    ) -> None:
        """With `check_s`, a backend whose `/readyz` is not 200 gets no new request; it is asked this often. With `tls`,
        clients come over TLS, and to `name`."""
        self._backends = tuple(backends)
        self._check_s = check_s
        self._unready: set[int] = set()
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._connections: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="round-robin", daemon=True)
        self.port: int = self._socket.getsockname()[1]
        self._tls = tls
        self.url = f"https://{name}:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        self.served: list[int] = []
        """The port of the backend that took each request, in order of arrival."""
        self.exchanges: list[Exchange] = []
        """What passed, in order of arrival."""
        self.adds: list[tuple[bytes, bytes]] = []
        """Headers that backends get beside the client's own, as from a proxy that states the client's address."""
        self._open: dict[_Peer, Exchange] = {}

    def cut(self, method: str | None = None) -> int:
        """Reset the clients' connections under every answer that has begun and not ended (to requests of `method`),
        as a lost network does; how many."""
        cut: list[_Peer] = []
        done = threading.Event()

        def reset() -> None:
            cut.extend(
                client
                for client, exchange in self._open.items()
                if exchange.status is not None and method in (None, exchange.method)
            )
            for client in cut:
                client.reset()
            done.set()

        self._loop.call_soon_threadsafe(reset)
        assert done.wait(timeout=5), "the proxy's loop is busy"
        return len(cut)

    def close(self) -> None:
        """Give the address back; it is taken from the start, so that backends can be told of it before they listen."""
        self._socket.close()
        self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=10)
        assert not self._thread.is_alive(), "the proxy did not end"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._socket, ssl=self._tls)
        if self._check_s is not None:
            checking = asyncio.create_task(self._check(self._check_s))
            self._connections.add(checking)  # it ends as they do
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        client = _Peer(h11.SERVER, reader, writer)
        try:
            await self._converse(client)
        except (OSError, h11.ProtocolError):
            client.reset()
        except asyncio.CancelledError:
            client.reset()  # the proxy itself ends; asyncio's own callback would log a cancelled task
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, client: _Peer) -> None:
        """Serve the requests of one client connection until either side ends it."""
        while True:
            try:
                request = await client.receive()
            except h11.RemoteProtocolError as error:
                await _refuse(client, error.error_status_hint, str(error))
                return
            if not isinstance(request, h11.Request):
                return
            backend = await self._connect()
            if backend is None:
                await _refuse(client, 502, "no backend listens")
                return
            exchange = self._open[client] = _begun(request, self.served[-1])
            self.exchanges.append(exchange)
            try:
                if not await _exchange(client, backend, request, exchange, self.adds):
                    return
            finally:
                del self._open[client]
                backend.writer.close()
            if client.http.our_state is not h11.DONE or client.http.their_state is not h11.DONE:
                return
            client.http.start_next_cycle()

    async def _connect(self) -> _Peer | None:
        """A connection to the backend whose turn it is, or to the next one that is ready and listens."""
        first = self._turn
        self._turn += 1  # once per request: those that connect meanwhile must not make this one skip a backend
        for turn in range(first, first + len(self._backends)):
            port = self._backends[turn % len(self._backends)]
            if port in self._unready:
                continue
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                continue
            self.served.append(port)
            return _Peer(h11.CLIENT, reader, writer)
        return None

    async def _check(self, every_s: float) -> None:
        """Look at each backend's readiness, as a load balancer does."""
        while True:
            for port in self._backends:
                (self._unready.discard if await _is_ready(port) else self._unready.add)(port)
            await asyncio.sleep(every_s)


async def _is_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
        finally:
            writer.close()
    except OSError:
        return False
    return status.split()[1:2] == [b"200"]


def _begun(request: h11.Request, port: int) -> Exchange:
    return Exchange(
        method=request.method.decode(),
        path=request.target.decode().partition("?")[0],
        port=port,
        resumes=any(name == b"last-event-id" for name, _ in request.headers),
    )


async def _exchange(
    client: _Peer, backend: _Peer, request: h11.Request, seen: Exchange, adds: Sequence[tuple[bytes, bytes]]
) -> bool:
    """Pass one request up and its response down. False when the client left: the backend's connection ends with it.

    Raises:
        OSError, h11.RemoteProtocolError: the backend broke off.
    """
    kept = [(name, value) for name, value in request.headers.raw_items() if name.lower() not in HOP_BY_HOP]
    await backend.send(
        h11.Request(method=request.method, target=request.target, headers=[*kept, *adds, (b"Connection", b"close")])
    )
    whole = asyncio.Event()
    up = asyncio.create_task(_upload(client, backend, whole))
    down = asyncio.create_task(_download(client, backend, seen))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if not down.done():
            return False
        down.result()
        # After an early answer, closing on unread bytes would reset it away from the client.
        reading = asyncio.create_task(whole.wait())
        await asyncio.wait({up, reading}, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        return True
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _upload(client: _Peer, backend: _Peer, whole: asyncio.Event) -> None:
    """Pass the request's body on until it is `whole`, then wait for the client to leave."""
    taken = True
    while True:
        event = await client.receive()
        if not isinstance(event, h11.Data | h11.EndOfMessage):
            return
        try:
            if taken:
                await backend.send(event)
        except (OSError, h11.LocalProtocolError):
            taken = False  # answered early and closed: what it said still has to reach the client
        if isinstance(event, h11.EndOfMessage):
            break
    whole.set()
    await client.gone()


async def _download(client: _Peer, backend: _Peer, seen: Exchange) -> None:
    """Pass the response on, event by event."""
    while True:
        event = await backend.receive()
        if isinstance(event, h11.Response | h11.InformationalResponse):
            kept = [(name, value) for name, value in event.headers.raw_items() if name.lower() not in HOP_BY_HOP]
            event = type(event)(status_code=event.status_code, headers=kept, reason=event.reason)
        assert isinstance(event, h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage)
        await client.send(event)
        if isinstance(event, h11.Response):
            seen.status = event.status_code
        if isinstance(event, h11.EndOfMessage):
            return


async def _refuse(client: _Peer, status: int, message: str) -> None:
    if client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    body = message.encode()
    headers = [("Content-Length", str(len(body))), ("Connection", "close")]
    await client.send(h11.Response(status_code=status, headers=headers))
    await client.send(h11.Data(data=body))
    await client.send(h11.EndOfMessage())
