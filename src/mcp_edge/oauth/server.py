"""The authorization server of one app: its parts, and which of them answers which path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property

from mcp_edge.errors import ConfigurationError
from mcp_edge.identity.connections import Connections
from mcp_edge.identity.provider import Provider
from mcp_edge.keyring import KeyRing
from mcp_edge.oauth.browser import Browsers
from mcp_edge.oauth.clients import Clients
from mcp_edge.oauth.grants import Grants
from mcp_edge.oauth.limits import Limits
from mcp_edge.platform import Platform
from mcp_edge.scopes import Scopes
from mcp_edge.urls import Urls


class AuthorizationServer:
    """See the module. Made at the first request, because a Worker allows no randomness before it."""

    def __init__(
        self,
        platform: Platform,
        scopes: Callable[[], Awaitable[Scopes]],
        *,
        provider: Provider,
        connections: Connections | None = None,
    ) -> None:
        if platform.settings.public_url is None:
            raise ConfigurationError("MCP_PUBLIC_URL is not set: an authorization server must know its own URL.")
        self.platform = platform
        self.settings = platform.settings
        self.scopes = scopes
        """The scopes of the server, which is made at the first request."""
        self.urls = Urls(platform.settings.public_url)
        self.provider = provider
        self.connections = connections
        """Where tools' upstream tokens are kept; None when tools have none from users."""
        self.limits = Limits(platform)
        self.clients = Clients(platform, self.limits)

    @cached_property
    def ring(self) -> KeyRing:
        """What seals."""
        return KeyRing([key.get_secret_value() for key in self.settings.secret_keys])

    @cached_property
    def grants(self) -> Grants:
        """What users have granted."""
        return Grants(self.platform, self.ring, self.urls, self.scopes, self.provider.admits)

    @cached_property
    def browsers(self) -> Browsers:
        """The browsers at the pages."""
        return Browsers(self.platform, self.ring, self.urls, self.provider.admits)
