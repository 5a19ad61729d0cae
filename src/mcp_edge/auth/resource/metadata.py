"""Protected resource metadata (RFC 9728) of the whole server and of each endpoint, and how any metadata is published.

All URLs come from the configured public URL, whatever a request's headers say. It knows no token.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from mcp_edge.auth.scopes import Scopes
from mcp_edge.protocol import cors
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.routing import Route, Who
from mcp_edge.protocol.urls import ENDPOINTS, Urls

Document = dict[str, Any]

NAME = "oauth-protected-resource"
_MAX_AGE_S = 300
"""Seconds after which clients see that a deployment has changed its scopes."""


class MetadataDocuments:
    """Publishes metadata documents at fixed paths. A document is made at its first request, which starts the server."""

    def __init__(
        self, paths: Sequence[str], scopes: Callable[[], Awaitable[Scopes]], make: Callable[[str, Scopes], Document]
    ) -> None:
        """`make` is given a path of `paths` and the server's scopes."""
        self._paths = tuple(paths)
        self._scopes = scopes
        self._make = make
        self._made: dict[str, bytes] = {}

    def routes(self) -> Iterator[Route]:
        """The routes of the documents."""
        return (Route(path, self._publish, Who.ANYBODY) for path in self._paths)

    async def _publish(self, request: Request) -> None:
        if await cors.preflighted(request, "GET", "HEAD"):
            return
        if request.path not in self._made:
            document = self._make(request.path, await self._scopes())
            self._made[request.path] = json.dumps(document, separators=(",", ":")).encode()
        caching = (b"cache-control", b"public, max-age=%d" % _MAX_AGE_S)
        await request.answer(200, self._made[request.path], headers=[caching])


def resource_metadata(
    urls: Urls, scopes: Callable[[], Awaitable[Scopes]], *, authorization_servers: Sequence[str], name: str = ""
) -> MetadataDocuments:
    """The documents of the server's resources (RFC 9728 §2). `authorization_servers` are issuer URLs; `name` is for
    people, by default the host."""
    resources = well_known_paths(urls, NAME)

    def make(path: str, declared: Scopes) -> Document:
        return {
            "resource": resources[path],
            "authorization_servers": list(authorization_servers),
            # What a client asks for at first; whatever else an operation needs, its 403 names.
            "scopes_supported": sorted(declared.baseline),
            "bearer_methods_supported": ["header"],
            "resource_name": name or urlsplit(urls.issuer).netloc,
        }

    return MetadataDocuments(tuple(resources), scopes, make)


def well_known_paths(urls: Urls, name: str) -> dict[str, str]:
    """The path of each well-known document called `name` -> the URL of the resource that it describes.

    Where the public URL has a path, a proxy may strip the path or keep it, so both forms are paths.
    """
    found: dict[str, str] = {}
    for base in dict.fromkeys(("", urls.base_path)):
        for endpoint in ("", *ENDPOINTS):
            found[f"/.well-known/{name}{base}{endpoint}"] = urls.at(endpoint)
    return found
