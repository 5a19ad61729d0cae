"""Users' accounts at the upstream, as tools reach them: `Platform.accounts` of `auth=oauth`. It knows no tool."""

from __future__ import annotations

from collections.abc import Callable

from mcp_edge.audit import decided
from mcp_edge.auth.identity.linked_accounts import LinkedAccounts
from mcp_edge.auth.identity.provider import RedirectProvider
from mcp_edge.auth.server.browser import link_account
from mcp_edge.auth.server.server import AuthorizationServer


class UserAccounts:
    """The port `platform.Accounts` over the linked accounts of one authorization server."""

    def __init__(self, provider: RedirectProvider, server: Callable[[], AuthorizationServer]) -> None:
        """`server` makes the authorization server at the first use. Its linked accounts are those at `provider`."""
        self._provider = provider
        self._server = server

    @property
    def label(self) -> str:
        """Whose accounts they are."""
        return self._provider.label

    async def token(self, principal: str) -> str | None:
        """A live access token, or None."""
        return await self._linked_accounts().token(principal)

    async def renewed(self, principal: str, refused: str) -> str | None:
        """Another one, or None."""
        return await self._linked_accounts().renewed(principal, refused)

    async def forget(self, principal: str, refused: str) -> None:
        """Remove the account with this token."""
        await self._linked_accounts().forget(principal, refused=refused)

    async def invite(self, principal: str, grant: str) -> str:
        """The URL at which the user links an account. Empty where a sign-in links one: then the grant ends here, so
        that the app asks for the next sign-in."""
        server = self._server()
        if server.settings.upstream_account == "connect":
            return await link_account.invite(server, principal)
        await server.grants.end(principal, grant)
        decided("grant", "refused", principal=principal, reason="its user's account at the upstream is gone")
        return ""

    def _linked_accounts(self) -> LinkedAccounts:
        linked_accounts = self._server().linked_accounts
        assert linked_accounts is not None  # it was made with the provider
        return linked_accounts
