"""create_app: the ASGI callable of one server: its routing table, and the place where a refusal becomes a response."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from starlette.types import Receive, Scope, Send

from mcp_edge.audit import SERVED, decided
from mcp_edge.auth import rate_limit
from mcp_edge.auth.authenticator import refusal_headers, refuse_undeclared
from mcp_edge.auth.modes import choose_mode
from mcp_edge.auth.scopes import Scopes
from mcp_edge.calls.core import Core
from mcp_edge.errors import Problem, TooMany
from mcp_edge.outbound.fetch import is_protected
from mcp_edge.platform import Platform
from mcp_edge.protocol import jsonrpc, sse
from mcp_edge.protocol.client_address import address_header
from mcp_edge.protocol.guards import Guards
from mcp_edge.protocol.request import Gone, Request
from mcp_edge.protocol.routing import Route, RouteTable, Who
from mcp_edge.records.readiness import Readiness
from mcp_edge.settings import Settings
from mcp_edge.wires import custom_routes, mcp
from mcp_edge.wires.http_sse import endpoints

logger = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""A start that takes longer was given up by its host, or is tried once more beside it."""

HEALTH = frozenset({"/healthz", "/readyz"})
"""Paths that tell how the process is: whoever decides about it has to learn that it is alive though it is full."""


def create_app(
    create_server: Callable[[Settings], MCPServer[Any]], platform: Platform, routes: Iterable[Route] = ()
) -> App:
    """The server as a long-lived ASGI callable. `routes` are a host's own, beside the app's.

    It needs no lifespan event and tolerates one per request; the server is created at the first request, since some
    hosts allow no randomness or I/O before it.
    """
    return App(create_server, platform, routes)


class App:
    """One server as an ASGI callable: its routes, and the boundary where an exception becomes an answer."""

    def __init__(
        self, create_server: Callable[[Settings], MCPServer[Any]], platform: Platform, routes: Iterable[Route] = ()
    ) -> None:
        self._create_server = create_server
        self._has_one_user = platform.settings.auth == "none"
        """Whether all callers are one user, so that what one user may have under way is for everybody."""
        self._guards = Guards(platform.settings)
        self._address_header = address_header(platform.settings)
        self._auth = choose_mode(platform, self._scopes)
        self._platform = replace(platform, accounts=self._auth.accounts)
        self._core: Core | None = None
        self._starting_at = -PATIENCE_S
        self._ready = Readiness(self._read_store, platform.clock)
        self._routes = RouteTable(
            (
                Route("/mcp", mcp.serve, Who.USER),
                Route("/sse", endpoints.open_stream, Who.USER),
                Route("/messages", endpoints.post, Who.USER),
                Route("/healthz", _alive, Who.PROBE),
                Route("/readyz", self._readiness, Who.PROBE),
                *self._auth.routes,
                *routes,
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "http":
            request = Request(scope, receive, send, self._address_header)
            SERVED.set(request)
            try:
                await self._serve(request)
            except Gone:
                pass
            except Exception as e:  # noqa: BLE001 # the outermost boundary: a bug is logged once and told without detail
                await self._tell(request, e)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _serve(self, request: Request) -> None:
        route = self._routes.find(request.path)
        if route is None or route.who is not Who.USER:
            await self._serve_anybody(route, request)
            return
        self._guards.check(request)
        if request.method == "OPTIONS":
            await self._guards.preflight(request)
            return
        user = await self._auth.authenticator.authenticate(request)
        if not self._has_one_user and request.scope.get("state") and not request.claim(user.principal):
            decided(request.path, "refused", principal=user.principal, client=user.client, reason="connections")
            message = "Too many requests of yours are under way; try again when one has ended."
            raise TooMany(message, headers={"retry-after": "5"})
        if self._platform.limiter is not None:
            await rate_limit.check(self._platform, request, user)
        await route.handler(self._core or await self.start(), request, user)

    async def _serve_anybody(self, route: Route | None, request: Request) -> None:
        """Answer where no credential is needed: a route that says so, one of the server's own, or none."""
        self._guards.check_open(request)
        handler = route.handler if route else custom_routes.find(self._core or await self.start(), request)
        if handler is None:
            await request.answer(404, b'{"error":"There is nothing here. The MCP endpoint is /mcp."}')
            return
        if route is None or route.who is not Who.PROBE:
            self._guards.check_host(request)
        await handler(request)

    async def _readiness(self, request: Request) -> None:
        if not self._platform.drain.draining:
            await self._ready.check()
        if self._platform.drain.draining:  # perhaps since a moment ago
            await request.answer(503, b'{"status":"draining"}')
        else:
            await request.answer(200, b'{"status":"ready"}')

    async def _read_store(self) -> None:
        await self.start()
        await self._platform.records.get("ready")

    async def start(self) -> Core:
        """Make the server and enter its lifespan, which otherwise happens at its first request.

        No lock: requests that come meanwhile may be on other event loops. Nor do they wait for ever: a host may drop
        the request that has begun it without another word.
        """
        while self._core is None:
            if time.monotonic() - self._starting_at < PATIENCE_S:
                await anyio.sleep(0.005)  # an event would belong to one loop
                continue
            core = Core.build(self._create_server, self._platform, self._auth.authenticator)
            self._starting_at = time.monotonic()
            try:
                await core.kernel.start()
                refuse_undeclared(self._platform.settings, core.scopes)
                _warn_of_plain_upstream(self._platform.settings)
                await core.announce_catalogue()
                self._core = self._core or core
            finally:
                if self._core is not core:
                    self._starting_at = -PATIENCE_S  # the next request tries again
                    with anyio.CancelScope(shield=True):
                        await core.kernel.stop()
        return self._core

    async def _scopes(self) -> Scopes:
        return (self._core or await self.start()).scopes

    async def _tell(self, request: Request, e: Exception) -> None:
        """Answer with what went wrong, or end the event stream that has begun: its client comes back with its last
        event id."""
        problem = Problem.of(e, request.trace_id)
        problem.write_log(logger)
        if not request.begun:
            body = jsonrpc.error(problem.request_id, problem.code, problem.message, problem.data)
            headers = refusal_headers(self._auth.authenticator, problem, request)
            await request.answer(problem.status, body, headers=headers)
        elif not request.ended:
            await sse.Writer(request).end(sse.retry())

    async def stop(self) -> None:
        """Leave the server's lifespan, in the task that called `start`."""
        if self._core is not None:
            await self._core.kernel.stop()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


async def _alive(request: Request) -> None:
    await request.answer(200, b'{"status":"alive"}')


def _warn_of_plain_upstream(settings: Settings) -> None:
    known = settings.upstream_token or settings.upstream_tokens or settings.upstream_account != "settings"
    if known and not is_protected(settings.upstream_url):
        logger.warning("MCP_UPSTREAM_URL is not https: the credentials that tools send there can be read on their way")
