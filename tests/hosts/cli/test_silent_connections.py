"""A stranger cannot keep connections for ever by sending nothing, or the head of a request bit by bit."""

from __future__ import annotations

import pytest

from mcp_edge.hosts.cli import server
from tests.hosts.cli.edge import serving

pytestmark = pytest.mark.anyio

HEAD = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n"


async def test_only_a_request_that_has_begun_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.05)
    async with serving() as edge:
        slow, writer = await edge.connect()
        writer.write(HEAD + b"bo")
        for served, sent in ((b"", b""), (b"", HEAD[:20]), (b"body", HEAD[:20])):
            reader, stranger = await edge.connect()
            if served:
                stranger.write(HEAD + served)
                await reader.readuntil(served)
            stranger.write(sent)
            assert await reader.read() == b""  # the server has closed the connection
            stranger.close()
        writer.write(b"dy")

        assert (await slow.readuntil(b"body")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
