"""The server's own URLs, all from the configured public one. Pure: nothing of a request is read."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mcp_edge.text.ascii import lowered

ENDPOINTS = ("/mcp", "/sse")
"""Paths that are resources of their own (RFC 8707); /messages belongs to /sse."""


@dataclass(frozen=True, slots=True)
class Urls:
    """`issuer` is the public URL without a trailing slash; it is the authorization server's identity (RFC 8414 §2)."""

    issuer: str

    @property
    def origin(self) -> str:
        """Scheme and authority."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def secure(self) -> bool:
        """Whether browsers reach it over TLS, so that cookies can be `Secure`."""
        return self.issuer.startswith("https://")

    @property
    def resources(self) -> tuple[str, ...]:
        """What a token can be for: the whole server, or one endpoint of it."""
        return (self.issuer, *(self.issuer + path for path in ENDPOINTS))

    def resource(self, text: str) -> str | None:
        """Which of `resources` a client means, or None. Scheme and host may be in capitals, and a slash may follow (MCP
        2026-07-28 authorization, Canonical Server URI)."""
        if not text.isascii():  # there are letters besides whose small one is an ASCII letter (U+212A)
            return None
        scheme, mark, rest = text.partition("://")
        host, slash, path = rest.partition("/")
        found = f"{lowered(scheme)}{mark}{lowered(host)}{slash}{path}".removesuffix("/")
        return found if found in self.resources else None

    def is_own(self, uri: str) -> bool:
        """Whether `uri` may lead to a page of ours.

        What a browser makes of `..` and `%2e` is not guessed: on our origin every path counts that has ours in it.
        """
        parts = urlsplit(uri)
        origin = f"{lowered(parts.scheme)}://{lowered(parts.netloc)}"
        return origin in (self.origin, self.origin + ":443") and self.base_path in unquote(parts.path)

    @property
    def base_path(self) -> str:
        """The public URL's own path; empty where the server has its host for itself."""
        return urlsplit(self.issuer).path

    def at(self, path: str) -> str:
        """The absolute URL of a path of ours."""
        return self.issuer + path

    def well_known(self, name: str, path: str = "") -> str:
        """The absolute URL of a metadata document about `path`: the well-known part comes between the host and the
        whole path (RFC 8414 §3.1, RFC 9728 §3.1)."""
        return f"{self.origin}/.well-known/{name}{self.base_path}{path}"

    def accepted_at(self, path: str) -> frozenset[str]:
        """The audiences that are right for a request to `path`."""
        endpoint = "/sse" if path == "/messages" else path
        return frozenset((self.issuer, self.issuer + "/", self.issuer + endpoint))
