"""An `EdgeServer` in this process around an app of the test's, and raw bytes to and from it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock, patch

from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_edge.hosts.cli import server
from mcp_edge.hosts.cli.serve import listener
from mcp_edge.platform import Platform, ProcessDrain
from mcp_edge.protocol import sse
from mcp_edge.protocol.request import Request
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]

MIB = 1024 * 1024
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 16 * MIB
"""More than the kernel keeps of one connection."""


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


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


class Edge:
    """A server that is up."""

    def __init__(self, edge: server.EdgeServer, port: int) -> None:
        self.server = edge
        self.port = port

    async def connect(self, address: str = "127.0.0.1") -> Peer:
        """A new connection, from `address`."""
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))

    async def exchange(self, *sent: bytes) -> bytes:
        """All that comes until the server ends its side, for what is sent in so many pieces."""
        reader, writer = await self.connect()
        try:
            for piece in sent:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass  # what the server has answered is there all the same
        answer = await reader.read()
        writer.close()
        return answer

    @property
    def connections(self) -> set[Any]:
        """Those that the server has not closed."""
        return self.server.server_state.connections  # pyright: ignore[reportReturnType] # one class among uvicorn's


@asynccontextmanager
async def serving(app: ASGIApp = echo, **settings: Any) -> AsyncGenerator[Edge]:
    """A server of `app`. Nothing of it waits longer than 30 s."""
    records, atomics = open_memory()
    drain = ProcessDrain()
    platform = Platform(Settings(store="memory:", drain_s=0, **settings), records, atomics, drain=drain)
    edge = server.EdgeServer(app, platform, drain)
    # This process, its garbage and its descriptors are not the server's alone.
    with patch.object(server, "gc", Mock()), listener("127.0.0.1", 0) as sock:
        running = asyncio.ensure_future(edge.serve(sockets=[sock]))
        try:
            async with asyncio.timeout(30):
                yield Edge(edge, sock.getsockname()[1])
        finally:
            edge.handle_exit(signal.SIGINT, None)
            edge.force_exit = True
            await running


async def until(condition: Any) -> None:
    """Poll `condition` under the server's deadline: nothing announces these states from outside."""
    while not condition():
        await asyncio.sleep(0.01)
