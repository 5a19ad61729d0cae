"""A stranger cannot keep connections for ever by sending nothing, or the head of a request bit by bit."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest
from starlette.types import Receive, Scope, Send

from mcp_edge.cli import server
from mcp_edge.cli.serve import listener
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory

pytestmark = pytest.mark.anyio

HEAD = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving() -> AsyncGenerator[int]:
    """An `EdgeServer` in this process; its port."""
    records, atomics = open_memory()
    edge = server.EdgeServer(echo, Platform(Settings(store="memory:", drain_s=0), records, atomics))
    with listener("127.0.0.1", 0) as sock:
        running = asyncio.ensure_future(edge.serve(sockets=[sock]))
        try:
            yield sock.getsockname()[1]
        finally:
            edge.handle_exit(signal.SIGINT, None)
            await running


async def test_only_a_request_that_has_begun_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.05)
    monkeypatch.setattr(server, "gc", Mock())  # this process, and its garbage, are not the server's alone
    async with asyncio.timeout(20), serving() as port:
        slow, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"bo")
        for served, sent in ((b"", b""), (b"", HEAD[:20]), (b"body", HEAD[:20])):
            reader, stranger = await asyncio.open_connection("127.0.0.1", port)
            if served:
                stranger.write(HEAD + served)
                await reader.readuntil(served)
            stranger.write(sent)
            assert await reader.read() == b""  # the server has closed the connection
            stranger.close()
        writer.write(b"dy")

        assert (await slow.readuntil(b"body")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
