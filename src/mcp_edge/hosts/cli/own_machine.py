"""A server for this machine alone refuses what a proxy passes on from others.

A proxy on this machine may name the server itself as the Host, as Apache and nginx do, so Host says nothing about who
asks. What proxies add to a request does. nginx adds nothing unless it is told to.
"""

from __future__ import annotations

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_edge.audit import decided
from mcp_edge.hosts.exposure import PROXY_HEADERS
from mcp_edge.settings import Settings

_OF_PROXIES = frozenset(header.encode() for header in PROXY_HEADERS)
_TOLD = json.dumps(
    {
        "error": "This server has no sign-in and is for its own machine alone, and a proxy passed this request on. Set "
        "MCP_AUTH, or start it with --insecure if the proxy decides who may call."
    }
).encode()


def is_for_this_machine(settings: Settings) -> bool:
    """Whether everybody who reaches the server is let in, or may say who he is."""
    return settings.auth == "none" or (settings.auth == "oauth" and settings.identity == "dev")


def without_proxies(app: ASGIApp) -> ASGIApp:
    """`app`, but 403 for a request that came through a proxy."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if any(name in _OF_PROXIES for name, _ in scope["headers"]):
            decided(scope["path"], "refused", reason="a proxy passed it on")
            length = b"%d" % len(_TOLD)
            headers = [(b"content-type", b"application/json"), (b"content-length", length)]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": _TOLD})
        else:
            await app(scope, receive, send)

    return guarded
