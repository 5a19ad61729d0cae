"""The parts of one app's authorization server, for its handlers. It knows none of the handlers."""

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
    """What every handler of the authorization server works with.

    It is made at the first request, because a Worker allows no randomness before that.
    """

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
        """Seals and opens what browsers and the store keep."""
        self.grants = grants
        """What users have granted."""
        self.scopes = scopes
        """Gives the scopes that the MCP server declares; the first call starts it."""
        self.provider = provider
        self.linked_accounts = linked_accounts
        """Users' accounts at the upstream; None where tools use none."""
        self.attempts = Attempts(platform)
        self.clients = Clients(platform, self.attempts)
        self.browsers = Browsers(platform, ring, urls, provider.admits)
        """Recognizes the browsers at the pages."""
