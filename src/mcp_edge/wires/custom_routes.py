"""Routes of the server's own, made with the SDK's `@server.custom_route`: a webhook, a page. They need no credential.

The table of the app comes first. A route's handler is Starlette's. What the handler raises, and a body over
`MCP_MAX_BODY_BYTES`, is answered as everywhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.routing import BaseRoute, Match
from starlette.types import Message, Scope

from mcp_edge.calls.core import Core
from mcp_edge.errors import TooLarge
from mcp_edge.protocol.request import Request


def find(core: Core, request: Request) -> Callable[[Request], Awaitable[None]] | None:
    """The handler of a request whose path is none of the app's. None where the server has no route for the path.

    The handler raises TooLarge where more of the body is read than is allowed, and whatever is a bug in it.
    """
    for route in core.kernel.custom_routes:
        match, found = route.matches(request.scope)
        if match is not Match.NONE:
            return partial(_answer, core, route, found)
    return None


async def _answer(core: Core, route: BaseRoute, found: Scope, request: Request) -> None:
    body = _Body(request, core.platform.settings.max_body_bytes)
    await route.handle({**request.scope, **found}, body.receive, _Head(request).send)


class _Body:
    """The request's body, of which no more than `most` bytes are read."""

    def __init__(self, request: Request, most: int) -> None:
        self._request = request
        self._left = most
        self._most = most

    async def receive(self) -> Message:
        """The next piece."""
        message = await self._request.receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise TooLarge(f"The body is over {self._most} bytes.")
        return message


class _Head:
    """The response, which says what every answer to this request says."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def send(self, message: Message) -> None:
        """Send the next piece."""
        if message["type"] == "http.response.start":
            self._request.begun = True
            message = {**message, "headers": [*message.get("headers", ()), *self._request.extra]}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._request.ended = True
        await self._request.send(message)
