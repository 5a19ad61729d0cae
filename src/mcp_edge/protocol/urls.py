"""The server's own URLs, all made from the configured public URL. Pure: nothing of a request is read."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mcp_edge.text.ascii import lowered

ENDPOINTS = ("/mcp", "/sse")
"""Paths that are resources of their own (RFC 8707). `/messages` belongs to `/sse`."""


@dataclass(frozen=True, slots=True)
class Urls:
    """The URLs of one server."""

    issuer: str
    """The public URL without a trailing slash. It identifies the authorization server (RFC 8414 §2)."""

    @property
    def origin(self) -> str:
        """Scheme and authority."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def secure(self) -> bool:
        """Whether browsers reach the server over TLS, so cookies can be `Secure`."""
        return self.issuer.startswith("https://")

    @property
    def resources(self) -> tuple[str, ...]:
        """What a token can be for: the whole server, or one of its endpoints (RFC 8707)."""
        return (self.issuer, *(self.issuer + path for path in ENDPOINTS))

    def resource(self, text: str) -> str | None:
        """Which of `resources` a client means by `text`, or None. Scheme and host may be in capitals, and a slash may
        follow (MCP 2026-07-28 authorization, Canonical Server URI)."""
        if not text.isascii():  # the small letter of U+212A is an ASCII letter, too
            return None
        scheme, mark, rest = text.partition("://")
        host, slash, path = rest.partition("/")
        found = f"{lowered(scheme)}{mark}{lowered(host)}{slash}{path}".removesuffix("/")
        return found if found in self.resources else None

    def is_own(self, uri: str) -> bool:
        """Whether `uri` may lead to a page of this server's.

        What a browser makes of `..` and `%2e` is not guessed. On this origin every path counts that contains ours.
        """
        parts = urlsplit(uri)
        origin = f"{lowered(parts.scheme)}://{lowered(parts.netloc)}"
        return origin in (self.origin, self.origin + ":443") and self.base_path in unquote(parts.path)

    @property
    def base_path(self) -> str:
        """The path of the public URL; empty where the server has its host for itself."""
        return urlsplit(self.issuer).path

    def at(self, path: str) -> str:
        """The absolute URL of one of this server's paths."""
        return self.issuer + path

    def well_known(self, name: str, path: str = "") -> str:
        """The absolute URL of the metadata document `name` about `path`. The well-known part stands between the host
        and the whole path (RFC 8414 §3.1, RFC 9728 §3.1)."""
        return f"{self.origin}/.well-known/{name}{self.base_path}{path}"

    def accepted_at(self, path: str) -> frozenset[str]:
        """The audiences of tokens that are valid for a request to `path`."""
        endpoint = "/sse" if path == "/messages" else path
        return frozenset((self.issuer, self.issuer + "/", self.issuer + endpoint))
