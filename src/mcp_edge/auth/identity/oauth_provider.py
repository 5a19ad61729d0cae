"""What the providers of plain OAuth, without OpenID Connect, have in common. It knows none of them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mcp_edge.auth.identity.admission import Admission
from mcp_edge.auth.identity.oauth_client import OAuthClient
from mcp_edge.auth.identity.provider import TokenSet
from mcp_edge.errors import ConfigurationError
from mcp_edge.outbound.fetch import is_protected
from mcp_edge.platform import Platform
from mcp_edge.text.masking import masked_url
from mcp_edge.user import User


class OAuthProvider:
    """Base of the plain OAuth providers: a `RedirectProvider` without `depart` and `arrive`, which each writes
    itself."""

    LABEL: ClassVar[str]
    BASE_URL: ClassVar[str]
    """Where it is hosted for everybody."""
    REDEEM_PATH: ClassVar[str]
    """The token endpoint (RFC 6749 §3.2) below it."""

    def __init__(
        self,
        platform: Platform,
        *,
        base_url: str = "",
        client_id: str,
        client_secret: str = "",
        scopes: Sequence[str] = (),
        admission: Admission,
    ) -> None:
        """`base_url` is where users see it, if not at `BASE_URL`.

        Raises:
            ConfigurationError: it is not an https URL.
        """
        base_url = base_url or self.BASE_URL
        if not is_protected(base_url):
            raise ConfigurationError(
                f"{self.LABEL} at {masked_url(base_url)} cannot be trusted: the URL must be https."
            )
        self._base = base_url.rstrip("/")
        self._client = OAuthClient(platform, self.LABEL, client_id, client_secret)
        self._scopes = scopes
        self._admission = admission

    @property
    def issuer(self) -> str:
        """Its base URL."""
        return self._base

    @property
    def label(self) -> str:
        """Its name on our pages."""
        return self.LABEL

    def admits(self, user: User) -> bool:
        """Whether what let this user in is still there."""
        return user.issuer == self._base and self._admission.still(user.admitted)

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """Fresh tokens, where they expire."""
        return await self._client.renew(self._base + self.REDEEM_PATH, tokens, "client_secret_post")

    async def _redeem(
        self, query: Mapping[str, str], secrets: Mapping[str, str], callback: str
    ) -> tuple[TokenSet, dict[str, Any]]:
        """The tokens for the code that the browser came back with, and the answer that held them."""
        answer = await self._client.redeem(
            self._base + self.REDEEM_PATH,
            self._client.code(query),
            secrets,
            callback=callback,
            method="client_secret_post",
        )
        return self._client.tokens(answer), answer
