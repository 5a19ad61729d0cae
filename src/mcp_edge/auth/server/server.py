"""The authorization server of one app: its parts, and which of them answers which path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mcp_edge.auth.identity.linked_accounts import LinkedAccounts
from mcp_edge.auth.identity.provider import Provider
from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.attempts import Attempts
from mcp_edge.auth.server.browsers import Browsers
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.auth.server.grants.grants import Grants
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.urls import Urls


class AuthorizationServer:
    """See the module. Made at the first request, because a Worker allows no randomness before it."""

    def __init__(
        self,
        platform: Platform,
        urls: Urls,
        ring: KeyRing,
        grants: Grants,
        scopes: Callable[[], Awaitable[Scopes]],
        *,
        provider: Provider,
        linked_accounts: LinkedAccounts | None = None,
    ) -> None:
        self.platform = platform
        self.settings = platform.settings
        self.urls = urls
        self.ring = ring
        """What seals."""
        self.grants = grants
        """What users have granted."""
        self.scopes = scopes
        """The scopes of the server, which is made at the first request."""
        self.provider = provider
        self.linked_accounts = linked_accounts
        """Where tools' upstream tokens are kept; None when tools have none from users."""
        self.attempts = Attempts(platform)
        self.clients = Clients(platform, self.attempts)
        self.browsers = Browsers(platform, ring, urls, provider.admits)
        """The browsers at the pages."""
