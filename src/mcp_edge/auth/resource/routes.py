"""The modes in which another server issues the credentials: `auth=jwt` and `auth=access`. It knows no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mcp_edge.auth.authenticator import Authenticator
from mcp_edge.auth.scopes import Scopes
from mcp_edge.platform import Platform
from mcp_edge.protocol.routing import Route
from mcp_edge.protocol.urls import Urls


def resource_server(
    platform: Platform, scopes: Callable[[], Awaitable[Scopes]]
) -> tuple[Authenticator, tuple[Route, ...]]:
    """The authenticator, and the routes of this mode.

    With `access` there is none: Access itself tells clients how to be authorized, before a request comes here.

    Raises:
        ConfigurationError: a setting is missing.
    """
    if platform.settings.auth == "access" and platform.settings.certificate_header:
        from mcp_edge.auth.resource.certificates import ProxyCertificates  # noqa: PLC0415 # only what the settings ask for

        return ProxyCertificates(platform), ()
    if platform.settings.auth == "access":
        from mcp_edge.auth.resource.access import CloudflareAccess  # noqa: PLC0415 # the same

        return CloudflareAccess(platform), ()
    from mcp_edge.auth.resource.jwt import JwtTokens  # noqa: PLC0415 # the same
    from mcp_edge.auth.resource.metadata import resource_metadata  # noqa: PLC0415 # the same

    urls = Urls(platform.settings.public_url or "")
    tokens = JwtTokens(platform, urls, scopes)
    documents = resource_metadata(urls, scopes, authorization_servers=[platform.settings.jwt_issuer or ""])
    return tokens, tuple(documents.routes())
