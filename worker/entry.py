"""The Worker: its isolate is made at the first request, for nothing may be read or drawn at import. It has no rule."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar

from workers import Request, WorkerEntrypoint

from mcp_edge.hosts.cloudflare import bridge, expiry, preload
from mcp_edge.hosts.cloudflare.isolate import Isolate
from my_server.server import create_server

__all__ = ["Default"]

preload.preload()


class Default(WorkerEntrypoint):
    """What Cloudflare calls, on a new object each time."""

    kept: ClassVar[Isolate | None] = None

    def isolate(self) -> Isolate:
        """The one that all of them share."""
        found = Default.kept = Default.kept or Isolate(self.env, create_server)
        return found

    def fetch(self, request: Request) -> Awaitable[Any]:
        """Answer one request."""
        return bridge.serve(lambda origin: self.isolate().app_at(origin), request, self.ctx)

    async def scheduled(self, *_: Any) -> None:
        """Remove what has expired."""
        isolate = self.isolate()
        await expiry.sweep(isolate.budget, isolate.records, isolate.atomics)
