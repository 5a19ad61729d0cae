"""The modes in which another server issues the credentials: `auth=jwt` and `auth=access`. It knows no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mcp_edge.auth.authenticator import Authenticator
from mcp_edge.auth.scopes import Scopes
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.urls import Urls

Handler = Callable[[Request], Awaitable[None]]


def resource_server(
    platform: Platform, scopes: Callable[[], Awaitable[Scopes]]
) -> tuple[Authenticator, Callable[[str], Handler | None]]:
    """The authenticator, and the function that finds the handler of a path (None: the path is not ours).

    With `access` no path is ours: Access itself tells clients how to be authorized, before a request comes here.

    Raises:
        ConfigurationError: a setting is missing.
    """
    if platform.settings.auth == "access" and platform.settings.certificate_header:
        from mcp_edge.auth.resource.certificates import ProxyCertificates  # noqa: PLC0415 # only what the settings ask for

        return ProxyCertificates(platform), _nothing
    if platform.settings.auth == "access":
        from mcp_edge.auth.resource.access import CloudflareAccess  # noqa: PLC0415 # the same

        return CloudflareAccess(platform), _nothing
    from mcp_edge.auth.resource.jwt import JwtTokens  # noqa: PLC0415 # the same
    from mcp_edge.auth.resource.metadata import resource_metadata  # noqa: PLC0415 # the same

    urls = Urls(platform.settings.public_url or "")
    tokens = JwtTokens(platform, urls, scopes)
    documents = resource_metadata(urls, scopes, authorization_servers=[platform.settings.jwt_issuer or ""])
    return tokens, documents.route


def _nothing(path: str) -> None:
    del path
