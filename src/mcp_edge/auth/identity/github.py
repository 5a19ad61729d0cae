"""Signs users in at GitHub, or at a GitHub Enterprise. OAuth without OpenID Connect: its API says who it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from mcp_edge.auth.identity.oauth_provider import OAuthProvider
from mcp_edge.auth.identity.provider import Departure, Identity
from mcp_edge.errors import UpstreamError
from mcp_edge.outbound.fetch import json_list, json_object
from mcp_edge.user import User


class GitHub(OAuthProvider):
    """GitHub as a `RedirectProvider`. A user's subject is the number of the account, which outlives a new login name.

    Its base URL is github.com, TEAM.ghe.com or a server of one's own.
    """

    LABEL = "GitHub"
    BASE_URL = "https://github.com"
    REDEEM_PATH = "/login/oauth/access_token"

    async def depart(self, *, state: str, callback: str) -> Departure:
        """Begin. Without scopes GitHub tells only what everybody may know; a GitHub App ignores them."""
        scopes = [*(["user:email"] if self._admission.asks_for_email else []), *self._scopes]
        endpoint = f"{self._base}/login/oauth/authorize"
        return self._client.departure(endpoint, state=state, callback=callback, scopes=scopes, more={})

    async def arrive(self, query: Mapping[str, str], secrets: Mapping[str, str], *, callback: str) -> Identity:
        """Finish: a code for tokens, and the account that they belong to."""
        tokens, _ = await self._redeem(query, secrets, callback)
        account = json_object(await self._client.get(f"{_api(self._base)}/user", tokens.access_token), self.label)
        number, login = account.get("id"), account.get("login")
        if type(number) is not int or number <= 0 or not isinstance(login, str):
            raise UpstreamError("GitHub's answer does not have the expected form.")
        emails: list[str] = []
        if self._admission.needs_email(str(number), login):
            emails = await self._emails(tokens.access_token)
        admitted = self._admission.check(str(number), login=login, emails=emails)
        return Identity(User(issuer=self._base, subject=str(number), name=login, admitted=admitted), tokens)

    async def _emails(self, token: str) -> list[str]:
        """The account's addresses that GitHub has verified."""
        found = json_list(await self._client.get(f"{_api(self._base)}/user/emails", token), self.label)
        entries = [cast("dict[str, Any]", entry) for entry in found if isinstance(entry, dict)]
        return [e["email"] for e in entries if e.get("verified") is True and isinstance(e.get("email"), str)]


def _api(base: str) -> str:
    """Where the REST API of the GitHub at `base` is."""
    parts = urlsplit(base)
    if parts.hostname == "github.com" or (parts.hostname or "").endswith(".ghe.com"):
        return f"{parts.scheme}://api.{parts.netloc}"
    return f"{base}/api/v3"
