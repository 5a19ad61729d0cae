"""Signs users in at Sentry, hosted or one's own: OAuth whose token answer says who the user is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mcp_edge.auth.identity.oauth_provider import OAuthProvider
from mcp_edge.auth.identity.provider import Departure, Identity
from mcp_edge.errors import UpstreamError
from mcp_edge.outbound.fetch import json_object
from mcp_edge.text.ascii import digits, stripped
from mcp_edge.user import User


class Sentry(OAuthProvider):
    """Sentry as a `RedirectProvider`. A user's subject is the number of the account."""

    LABEL = "Sentry"
    BASE_URL = "https://sentry.io"
    REDEEM_PATH = "/oauth/token/"

    async def depart(self, *, state: str, callback: str) -> Departure:
        """Begin. A sign-in needs no scope."""
        endpoint = f"{self._base}/oauth/authorize/"
        return self._client.departure(endpoint, state=state, callback=callback, scopes=self._scopes, more={})

    async def arrive(self, query: Mapping[str, str], secrets: Mapping[str, str], *, callback: str) -> Identity:
        """Finish: a code for tokens, beside which Sentry names the user."""
        tokens, answer = await self._redeem(query, secrets, callback)
        account: Any = answer.get("user")
        fields = cast("dict[str, Any]", account) if isinstance(account, dict) else {}
        number, name = fields.get("id"), fields.get("name")
        if not isinstance(number, str) or not digits(number) or len(number) > 32:
            raise UpstreamError("Sentry's answer does not have the expected form.")
        emails = await self._emails(tokens.access_token, number) if self._admission.needs_email(number) else []
        admitted = self._admission.check(number, emails=emails)
        shown = name if isinstance(name, str) and stripped(name) else number
        return Identity(User(issuer=self._base, subject=number, name=shown[:255], admitted=admitted), tokens)

    async def _emails(self, token: str, number: str) -> list[str]:
        """The account's addresses that Sentry has verified; the one in the token answer need not be."""
        account = json_object(await self._client.get(f"{self._base}/api/0/users/me/", token), self.label)
        entries: Any = account.get("emails")
        if str(account.get("id")) != number or not isinstance(entries, list):
            return []
        known = [cast("dict[str, Any]", e) for e in cast("list[Any]", entries) if isinstance(e, dict)]
        return [e["email"] for e in known if e.get("is_verified") is True and isinstance(e.get("email"), str)]
