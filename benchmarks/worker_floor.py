"""What a Worker in Python costs before it does anything: with nothing around it, and behind our bridge."""

from __future__ import annotations

from typing import Any

import js
from workers import WorkerEntrypoint

from mcp_edge.hosts.cloudflare import bridge


class Bare(WorkerEntrypoint):
    """Reads the body and answers with it."""

    async def fetch(self, request: Any) -> Any:
        """Answer one request."""
        return js.Response.new(await request.js_object.text())


class Bridged(WorkerEntrypoint):
    """Does the same as an ASGI app."""

    def fetch(self, request: Any) -> Any:
        """Answer one request."""
        return bridge.serve(lambda _: _echo, request, self.ctx)


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    del scope
    message = await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": message["body"]})
