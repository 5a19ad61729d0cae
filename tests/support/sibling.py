"""A host of the same site as another one, over TLS and without: it sets cookies for the site, byte by byte as told, and
is where an app's users are sent back to. It knows no server of ours.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

NAME = "evil.example.test"
PAGE = b"<!doctype html><title>Here</title><link rel=icon href='data:,'><h1>Here</h1>"


@dataclass(slots=True)
class Sibling:
    """`cookies` is what the next page sets: whole values of Set-Cookie."""

    url: str = ""
    plain_url: str = ""
    cookies: list[bytes] = field(default_factory=list[bytes])
    received: bytes = b""
    """The Cookie field of the latest request."""
    arrivals: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """What browsers have brought to `/cb`."""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
            return
        target = urlsplit(head.split(b" ", 2)[1].decode())
        fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
        self.received = b"; ".join(value.strip(b" ") for name, _, value in fields if name.lower() == b"cookie")
        if target.path == "/cb":
            self.arrivals.append(dict(parse_qsl(target.query)))
        set_cookies = b"".join(b"Set-Cookie: %s\r\n" % cookie for cookie in self.cookies)
        self.cookies = []
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nCache-Control: no-store\r\n")
        writer.write(set_cookies + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(tls: ssl.SSLContext) -> AsyncGenerator[Sibling]:
    """A sibling on two ports of its own."""
    sibling = Sibling()
    secure = await asyncio.start_server(sibling.accept, "127.0.0.1", 0, ssl=tls)
    plain = await asyncio.start_server(sibling.accept, "127.0.0.1", 0)
    sibling.url = f"https://{NAME}:{secure.sockets[0].getsockname()[1]}"
    sibling.plain_url = f"http://{NAME}:{plain.sockets[0].getsockname()[1]}"
    try:
        yield sibling
    finally:
        for server in (secure, plain):
            server.close()
            await server.wait_closed()
