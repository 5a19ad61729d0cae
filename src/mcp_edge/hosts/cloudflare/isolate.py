"""What one isolate of a Worker keeps between requests: env -> settings -> stores -> app. It has no rule of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any
from urllib.parse import urlsplit

from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp

from mcp_edge.app import create_app
from mcp_edge.hosts.cloudflare import budget, console, environment, limiter, upstream
from mcp_edge.hosts.exposure import is_loopback, refuse_unsafe
from mcp_edge.platform import Platform, PollIntervals
from mcp_edge.settings import Settings
from mcp_edge.storage.cloudflare import open_cloudflare
from mcp_edge.telemetry.root_logger import tell_unknown

DOMAINS = 8


class Isolate:
    """Bindings may be kept, and nothing that a request began."""

    def __init__(self, env: Any, create_server: Callable[[Settings], MCPServer[Any]]) -> None:
        """Nothing is read before the first request, in which this is made.

        Raises:
            ConfigurationError: the variables or the bindings are not those of a server that may run.
        """
        self._create_server = create_server
        self.settings = Settings.from_env(environment.variables(env))
        refuse_unsafe(self.settings, "a Worker", insecure=environment.variable(env, "MCP_AUTH") == "none")
        self.telemetry = console.configure(self.settings.log_format, self.settings.log_level)
        tell_unknown(environment.names(env))
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
            poll_intervals=PollIntervals(0.25, 4, inbox_s=1),
            drain=self.budget,
        )
        return create_app(self._create_server, platform)
