"""Lambda's Runtime API over one kept connection: requests, and responses whose body grows. It knows no ASGI.

HTTP/1.1 to a port on loopback, written out: a client library would cost more to import than all of this to run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mcp_edge.text.ascii import lowered, stripped

VERSION = "/2018-06-01/runtime/"
HIGH_WATER = 64 * 1024
"""Bytes that wait for Lambda before the app waits, too."""
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the Runtime API answered; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class RuntimeApi:
    """A connection that is made when it is needed. One exchange at a time.

    Every method raises OSError or EOFError when the other side is gone.
    """

    def __init__(self, address: str) -> None:
        """`address` is `AWS_LAMBDA_RUNTIME_API`: host and port."""
        host, _, port = address.rpartition(":")
        self._address = address
        self._host, self._port = host, int(port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Reply:
        """A whole request and its answer; it waits as long as that takes."""
        _, writer = await self._connection()
        length = [("Content-Length", str(len(body)))] if method == "POST" else []
        writer.write(self._head(method, path, [*headers, *length]) + body)
        await writer.drain()
        return await self._answer()

    async def begin(self, path: str, headers: Headers, data: bytes) -> None:
        """Start a POST whose body follows in chunks, `data` the first."""
        _, writer = await self._connection()
        head = self._head("POST", path, [*headers, ("Transfer-Encoding", "chunked")])
        writer.write(head + b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Send a chunk, which must not be empty, and wait while more than `HIGH_WATER` bytes are not taken."""
        assert self._writer is not None
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self, trailers: Headers = ()) -> None:
        """Send the end of the body."""
        assert self._writer is not None
        self._writer.write(b"0\r\n" + _fields(trailers))
        await self._writer.drain()

    async def acknowledged(self) -> Reply:
        """The answer to a POST whose body has ended."""
        return await self._answer()

    def drop(self) -> None:
        """Close the connection at once; the next exchange makes a new one."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            # asyncio sets TCP_NODELAY: small events must not wait for the acknowledgement of the ones before them.
            self._writer.transport.set_write_buffer_limits(high=HIGH_WATER)
        return self._reader, self._writer

    def _head(self, method: str, path: str, headers: Headers) -> bytes:
        start = f"{method} {VERSION}{path} HTTP/1.1\r\nHost: {self._address}\r\n"
        return start.encode() + _fields([*headers, ("User-Agent", "mcp-edge")])

    async def _answer(self) -> Reply:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in head[1:] if line)
        headers = {lowered(stripped(name)): stripped(value) for name, _, value in fields}
        if lowered(headers.get("transfer-encoding", "")) == "chunked":
            body = await self._chunks()
        else:
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if lowered(headers.get("connection", "")) == "close":
            self.drop()
        return Reply(int(head[0].split(" ", 2)[1]), headers, body)

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        parts: list[bytes] = []
        while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(parts)


def _fields(headers: Headers) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1") + b"\r\n"
