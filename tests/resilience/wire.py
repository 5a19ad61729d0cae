"""One HTTP request over a connection of its own, as a client sees it byte by byte. It knows no MCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11

GIVE_UP_S = 30
"""Longer than any wait that is allowed, so that a hang is measured before it is ended."""


class Cut(Exception):
    """The connection ended before the response did, or before it began."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    id: str
    data: str
    retry: bool


class Response:
    """A response whose head has arrived."""

    def __init__(self, http: h11.Connection, reader: asyncio.StreamReader) -> None:
        self._http = http
        self._reader = reader
        self.status = 0
        self.headers: dict[str, str] = {}

    @property
    def streams(self) -> bool:
        """Whether the body is an event stream."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def head(self) -> None:
        """Read the status and the headers.

        Raises:
            Cut
        """
        event = await self._next()
        assert isinstance(event, h11.Response), event
        self.status = event.status_code
        self.headers = {name.decode().lower(): value.decode() for name, value in event.headers}

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            Cut
        """
        return b"".join([chunk async for chunk in self._chunks()])

    async def events(self) -> AsyncGenerator[Event]:
        """The events, comments left out.

        Raises:
            Cut
        """
        text = ""
        async for chunk in self._chunks():
            text += chunk.decode()
            while "\n\n" in text:
                block, _, text = text.partition("\n\n")
                found: dict[str, str] = {}
                for line in block.split("\n"):
                    name, _, value = line.partition(": ")
                    found[name] = value
                if "data" in found or "retry" in found:
                    yield Event(found.get("id", ""), found.get("data", ""), "retry" in found)

    async def _chunks(self) -> AsyncGenerator[bytes]:
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            yield bytes(event.data)

    async def _next(self) -> h11.Event:
        try:
            async with asyncio.timeout(GIVE_UP_S):
                while (event := self._http.next_event()) is h11.NEED_DATA:
                    self._http.receive_data(await self._reader.read(65536))
        except TimeoutError:
            raise AssertionError(f"the server said nothing for {GIVE_UP_S} s") from None
        except (OSError, h11.RemoteProtocolError) as e:
            raise Cut(str(e)) from e
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise Cut(str(event))
        return event


@asynccontextmanager
async def send(
    port: int, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> AsyncGenerator[Response]:
    """Send one request; the connection ends with the context, whether or not the response has.

    Raises:
        Cut
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as e:
        raise Cut(str(e)) from e
    try:
        http = h11.Connection(h11.CLIENT)
        fields = {"host": f"127.0.0.1:{port}", **headers, "content-length": str(len(body))}
        data = http.send(h11.Request(method=method, target=path, headers=list(fields.items())))
        writer.write((data or b"") + (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b""))
        response = Response(http, reader)
        await response.head()
        yield response
    finally:
        writer.close()
