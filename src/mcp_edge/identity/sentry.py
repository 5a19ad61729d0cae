"""Signs users in at Sentry, hosted or one's own: OAuth whose token answer says who the user is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from mcp_edge.context import User
from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.identity.admission import Admission
from mcp_edge.identity.oauth_client import OAuthClient
from mcp_edge.identity.provider import Departure, Identity, TokenSet
from mcp_edge.outbound import is_protected, json_object
from mcp_edge.platform import Platform

BASE_URL = "https://sentry.io"


class Sentry:
    """A `RedirectProvider`. The user is the account's number."""

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
        """`base_url`: where users see it.

        Raises:
            ConfigurationError: it is not an https URL.
        """
        if not is_protected(base_url):
            raise ConfigurationError(f"Sentry at {base_url} cannot be trusted: the URL must be https.")
        self._base = base_url.rstrip("/")
        self._client = OAuthClient(platform, "Sentry", client_id, client_secret)
        self._scopes = scopes
        self._admission = admission

    @property
    def label(self) -> str:
        """Its name on our pages."""
        return self._client.label

    async def depart(self, *, state: str, callback: str) -> Departure:
        """Begin. A sign-in needs no scope."""
        endpoint = f"{self._base}/oauth/authorize/"
        return self._client.departure(endpoint, state=state, callback=callback, scopes=self._scopes, more={})

    async def arrive(self, query: Mapping[str, str], secrets: Mapping[str, str], *, callback: str) -> Identity:
        """Finish: a code for tokens, beside which Sentry names the user."""
        code = self._client.code(query)
        answer = await self._client.redeem(
            self._token_endpoint, code, secrets, callback=callback, method="client_secret_post"
        )
        tokens = self._client.tokens(answer)
        account: Any = answer.get("user")
        fields = cast("dict[str, Any]", account) if isinstance(account, dict) else {}
        number, name = fields.get("id"), fields.get("name")
        if not isinstance(number, str) or not number.isascii() or not number.isdigit() or len(number) > 32:
            raise UpstreamError("Sentry's answer does not have the expected form.")
        emails = await self._emails(tokens.access_token, number) if self._admission.needs_email(number) else []
        admitted = self._admission.check(number, emails=emails)
        shown = name if isinstance(name, str) and name.strip() else number
        return Identity(User(issuer=self._base, subject=number, name=shown[:255], admitted=admitted), tokens)

    def admits(self, user: User) -> bool:
        """Whether what let this user in is still there."""
        return user.issuer == self._base and self._admission.still(user.admitted)

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """Fresh tokens."""
        return await self._client.renew(self._token_endpoint, tokens, "client_secret_post")

    @property
    def _token_endpoint(self) -> str:
        return f"{self._base}/oauth/token/"

    async def _emails(self, token: str, number: str) -> list[str]:
        """The account's addresses that Sentry has verified; the one in the token answer need not be."""
        account = json_object(await self._client.get(f"{self._base}/api/0/users/me/", token), self.label)
        entries: Any = account.get("emails")
        if str(account.get("id")) != number or not isinstance(entries, list):
            return []
        known = [cast("dict[str, Any]", e) for e in cast("list[Any]", entries) if isinstance(e, dict)]
        return [e["email"] for e in known if e.get("is_verified") is True and isinstance(e.get("email"), str)]
