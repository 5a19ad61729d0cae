"""Signs users in at GitHub, or at a GitHub Enterprise. OAuth without OpenID Connect: its API says who it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from mcp_edge.context import User
from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.identity.admission import Admission
from mcp_edge.identity.oauth_client import OAuthClient
from mcp_edge.identity.provider import Departure, Identity, TokenSet
from mcp_edge.outbound import is_protected, json_list, json_object
from mcp_edge.platform import Platform

BASE_URL = "https://github.com"


class GitHub:
    """A `RedirectProvider`. The user is the account's number, which stays when the login name changes."""

    def __init__(
        self,
        platform: Platform,
        *,
        base_url: str = BASE_URL,
        client_id: str,
        client_secret: str = "",
        scopes: Sequence[str] = (),
        admission: Admission,
    ) -> None:
        """`base_url` is where users see it: github.com, TEAM.ghe.com or a server of one's own.

        Raises:
            ConfigurationError: it is not an https URL.
        """
        if not is_protected(base_url):
            raise ConfigurationError(f"GitHub at {base_url} cannot be trusted: the URL must be https.")
        self._base = base_url.rstrip("/")
        self._api = _api(self._base)
        self._client = OAuthClient(platform, "GitHub", client_id, client_secret)
        self._scopes = scopes
        self._admission = admission

    @property
    def label(self) -> str:
        """Its name on our pages."""
        return self._client.label

    async def depart(self, *, state: str, callback: str) -> Departure:
        """Begin. Without scopes GitHub tells only what everybody may know; a GitHub App ignores them."""
        scopes = [*(["user:email"] if self._admission.asks_for_email else []), *self._scopes]
        endpoint = f"{self._base}/login/oauth/authorize"
        return self._client.departure(endpoint, state=state, callback=callback, scopes=scopes, more={})

    async def arrive(self, query: Mapping[str, str], secrets: Mapping[str, str], *, callback: str) -> Identity:
        """Finish: a code for tokens, and the account that they belong to."""
        code = self._client.code(query)
        answer = await self._client.redeem(
            self._token_endpoint, code, secrets, callback=callback, method="client_secret_post"
        )
        tokens = self._client.tokens(answer)
        account = json_object(await self._client.get(f"{self._api}/user", tokens.access_token), self.label)
        number, login = account.get("id"), account.get("login")
        if type(number) is not int or number <= 0 or not isinstance(login, str):
            raise UpstreamError("GitHub's answer does not have the expected form.")
        emails: list[str] = []
        if self._admission.needs_email(str(number), login):
            emails = await self._emails(tokens.access_token)
        admitted = self._admission.check(str(number), login=login, emails=emails)
        return Identity(User(issuer=self._base, subject=str(number), name=login, admitted=admitted), tokens)

    def admits(self, user: User) -> bool:
        """Whether what let this user in is still there."""
        return user.issuer == self._base and self._admission.still(user.admitted)

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """Fresh tokens, where they expire: those of GitHub Apps do."""
        return await self._client.renew(self._token_endpoint, tokens, "client_secret_post")

    @property
    def _token_endpoint(self) -> str:
        return f"{self._base}/login/oauth/access_token"

    async def _emails(self, token: str) -> list[str]:
        """The account's addresses that GitHub has verified."""
        found = json_list(await self._client.get(f"{self._api}/user/emails", token), self.label)
        entries = [cast("dict[str, Any]", entry) for entry in found if isinstance(entry, dict)]
        return [e["email"] for e in entries if e.get("verified") is True and isinstance(e.get("email"), str)]


def _api(base: str) -> str:
    """Where the REST API of the GitHub at `base` is."""
    parts = urlsplit(base)
    if parts.hostname == "github.com" or (parts.hostname or "").endswith(".ghe.com"):
        return f"{parts.scheme}://api.{parts.netloc}"
    return f"{base}/api/v3"
