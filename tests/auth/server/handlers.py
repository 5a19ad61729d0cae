"""Handlers as an ASGI app, without the rest of the server: a refusal becomes its status and headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_edge.errors import CallerError
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.routing import Route, RouteTable

Handler = Callable[[Request], Awaitable[None]]


def of(routes: Iterable[Route]) -> Callable[[str], Handler | None]:
    """What finds the handler of a path in `routes`."""
    table = RouteTable(routes)

    def find(path: str) -> Handler | None:
        route = table.find(path)
        return None if route is None else route.handler

    return find


def app(route: Callable[[str], Handler | None]) -> ASGIApp:
    """The handlers that `route` knows; 404 for the rest."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        handler = route(request.path)
        if handler is None:
            await request.answer(404)
            return
        try:
            await handler(request)
        except CallerError as e:
            headers = [(name.encode(), value.encode()) for name, value in e.headers.items()]
            await request.answer(e.status, e.message.encode(), b"text/plain", headers)

    return serve


def client(
    route: Callable[[str], Handler | None], *, base_url: str = "https://notes.example", address: str = "198.51.100.7"
) -> httpx.AsyncClient:
    """An HTTP client of the handlers, whose peer address is `address`."""
    transport = httpx.ASGITransport(app(route), client=(address, 50000))
    return httpx.AsyncClient(transport=transport, base_url=base_url, trust_env=False)
