"""What a resource says of itself (RFC 9728), for the whole server and for each endpoint; and how any metadata document
is published. All URLs come from the configured public one, whatever a request's headers say."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from mcp_edge.auth.scopes import Scopes
from mcp_edge.protocol import cors
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.urls import ENDPOINTS, Urls

Handler = Callable[[Request], Awaitable[None]]
Document = dict[str, Any]

NAME = "oauth-protected-resource"
_MAX_AGE_S = 300
"""A deployment that changes its scopes is seen by clients after so many seconds."""


class MetadataDocuments:
    """Documents at fixed paths. They are made when the first is asked for, since the server declares the scopes."""

    def __init__(
        self, paths: Sequence[str], scopes: Callable[[], Awaitable[Scopes]], make: Callable[[str, Scopes], Document]
    ) -> None:
        """`make` is given a path of `paths` and the server's scopes."""
        self._paths = frozenset(paths)
        self._scopes = scopes
        self._make = make
        self._made: dict[str, bytes] = {}

    def route(self, path: str) -> Handler | None:
        """The handler of a path, or None."""
        return self._publish if path in self._paths else None

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
    """The documents of the server's resources. `authorization_servers` are issuer URLs; `name` is for people."""
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
    """The paths at which a well-known document of `name` is asked for, and the resource that each is about.

    Where the public URL has a path of its own, a proxy may take it off or leave it on.
    """
    found: dict[str, str] = {}
    for base in dict.fromkeys(("", urls.base_path)):
        for endpoint in ("", *ENDPOINTS):
            found[f"/.well-known/{name}{base}{endpoint}"] = urls.at(endpoint)
    return found
