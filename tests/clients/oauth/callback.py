"""The loopback address to which a native client has the browser sent (RFC 8252 §7.3). It knows no client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import anyio

DEADLINE_S = 15
PAGE = b"<!doctype html><title>Done</title><link rel=icon href='data:,'><h1>You can close this tab.</h1>"


@dataclass(slots=True)
class Callback:
    """What the browser brought, request by request."""

    url: str
    arrivals: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def result(self) -> dict[str, str]:
        """The query of the next arrival that was not handed out yet.

        Raises:
            TimeoutError: the browser was not sent here.
        """
        with anyio.fail_after(DEADLINE_S):
            await self._arrived.wait()
        self._arrived.clear()
        return self.arrivals[-1]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of the browser."""
        try:
            await self._answer(await reader.readuntil(b"\r\n\r\n"), writer)
        except asyncio.IncompleteReadError:
            pass  # a connection that the browser made beforehand, and did not need
        finally:
            writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        target = head.split(b" ", 2)[1].decode()
        if urlsplit(target).path == urlsplit(self.url).path:
            self.arrivals.append(dict(parse_qsl(urlsplit(target).query, strict_parsing=True)))
            self._arrived.set()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
        )
        writer.write(PAGE)
        await writer.drain()


@asynccontextmanager
async def listening() -> AsyncGenerator[Callback]:
    """A callback that listens on a port of its own."""
    callback = Callback("")
    server = await asyncio.start_server(callback.accept, "127.0.0.1", 0)
    try:
        callback.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
        yield callback
    finally:
        server.close()
        await server.wait_closed()
