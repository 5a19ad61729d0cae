"""The Worker: env -> settings -> stores -> app. It has no rule of its own; nothing is read before the first request."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cache, lru_cache
from typing import Any, ClassVar
from urllib.parse import urlsplit

from starlette.types import ASGIApp
from workers import Request, WorkerEntrypoint

from mcp_edge.app import create_app
from mcp_edge.cli.exposure import is_loopback, refuse_unsafe
from mcp_edge.cloudflare import bridge, budget, console, environment, expiry, limiter, preload, upstream
from mcp_edge.platform import Cadence, Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.cloudflare import open_cloudflare
from my_server.server import create_server

__all__ = ["Default"]
DOMAINS = 8

preload.preload()


class Isolate:
    """What is kept between requests: bindings may be, and nothing that a request began."""

    one: ClassVar[Isolate | None] = None

    @classmethod
    def of(cls, env: Any) -> Isolate:
        """This one, made at its first request."""
        if cls.one is None:
            cls.one = cls(env)
        return cls.one

    def __init__(self, env: Any) -> None:
        self.settings = Settings.from_env(environment.variables(env))
        refuse_unsafe(self.settings, "a Worker", insecure=environment.variable(env, "MCP_AUTH") == "none")
        self.telemetry = console.configure(self.settings.log_format, self.settings.log_level)
        kv, d1 = environment.binding(env, "KV"), environment.binding(env, "DB")
        self.records, self.atomics = open_cloudflare(budget.counted_kv(kv), budget.counted_d1(d1))
        self.budget = budget.Budget(environment.count(env, "SUBREQUESTS", budget.FREE_PLAN))
        self.shared = d1 is not None
        self.limiter = limiter.rate_limit(environment.binding(env, "RATE_LIMIT"))
        self.app_at = lru_cache(DOMAINS)(self._app_at)

    def _app_at(self, origin: str) -> ASGIApp:
        """The app at an origin, which the route has decided: Cloudflare sends no request for another name."""
        https = origin if is_loopback(urlsplit(origin).hostname or "") else origin.replace("http://", "https://", 1)
        known = {"public_url": https} if self.settings.public_url is None else {}
        platform = Platform(
            self.settings.model_copy(update=known),
            self.records,
            self.atomics,
            telemetry=self.telemetry,
            http=cache(upstream.client),
            http_public=cache(upstream.public_client),
            limiter=self.limiter,
            shared=self.shared,
            cadence=Cadence(0.25, 4, inbox=1),
            drain=self.budget,
        )
        return create_app(create_server, platform)


class Default(WorkerEntrypoint):
    """What Cloudflare calls."""

    def fetch(self, request: Request) -> Awaitable[Any]:
        """Answer one request."""
        return bridge.serve(lambda origin: Isolate.of(self.env).app_at(origin), request, self.ctx)

    async def scheduled(self, *_: Any) -> None:
        """Remove what has expired."""
        isolate = Isolate.of(self.env)
        await expiry.sweep(isolate.budget, isolate.records, isolate.atomics)
