"""One HTTP/1.1 connection to DynamoDB: h11 over asyncio's streams. It knows no operation, no signature and no retry."""

from __future__ import annotations

import asyncio

import anyio
import h11

_IDLE_S = 20
"""A connection idle for longer is not used again: the other end may be about to close it."""


class Connection:
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)
        self._used_at = anyio.current_time()

    @property
    def fit(self) -> bool:
        """Whether another request may be tried on it."""
        return not self._reader.at_eof() and anyio.current_time() - self._used_at < _IDLE_S

    async def exchange(self, headers: list[tuple[str, str]], payload: bytes) -> tuple[int, bytes]:
        """The status and body that come back."""
        request = h11.Request(method="POST", target="/", headers=headers)
        for event in (request, h11.Data(data=payload), h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()
        status, parts = 0, list[bytes]()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(65536)
                if not data:
                    raise ConnectionResetError("closed before the whole answer came")
                self._http.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return status, b"".join(parts)

    def next_cycle(self) -> bool:
        """Prepare for another request; False when the other end will close."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._used_at = anyio.current_time()
        return True

    def close(self) -> None:
        """Let go at once, without a TLS farewell."""
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Close and wait until it is."""
        self._writer.close()
        with anyio.move_on_after(1):
            try:
                await self._writer.wait_closed()
            except OSError:
                return
