"""`auth=access`: Cloudflare Access stands in front of the server, and says in a header of its own who calls.

People, service tokens and client certificates that Access has verified. What its policies let through is not restricted
further: its tokens carry no scopes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mcp_edge.audit import decided
from mcp_edge.auth.authenticator import refusal, step_up
from mcp_edge.auth.identity.jwks import InvalidToken, Jwks
from mcp_edge.auth.resource.token_cache import TokenCache, VerifiedToken, is_name, text, texts
from mcp_edge.errors import ConfigurationError
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.user import User

HEADER = b"cf-access-jwt-assertion"
"""Access removes whatever a client sends under this name. The signature is verified all the same."""


class CloudflareAccess:
    """Authenticates by the assertions of Cloudflare Access."""

    def __init__(self, platform: Platform) -> None:
        """The settings name the team and the application.

        Raises:
            ConfigurationError: the team or the application is not set.
        """
        settings = platform.settings
        team = (settings.access_team_domain or "").removeprefix("https://").strip("/")
        if not team or "/" in team:
            raise ConfigurationError("MCP_AUTH=access needs MCP_ACCESS_TEAM_DOMAIN: TEAM.cloudflareaccess.com.")
        if not settings.access_audience:
            raise ConfigurationError("MCP_AUTH=access needs MCP_ACCESS_AUDIENCE: the AUD tag of the application.")
        issuer = f"https://{team}"
        self._audiences = frozenset(settings.access_audience)
        self._jwks = Jwks(platform, f"{issuer}/cdn-cgi/access/certs")
        self._tokens = TokenCache(platform, issuer, self._keys, self._read)

    async def authenticate(self, request: Request) -> User:
        """The user whom Access's assertion names.

        Raises:
            Unauthenticated: the request did not come through Access, or through another application of it.
            UpstreamError: Access's keys cannot be had.
        """
        assertions = request.values(HEADER)
        if len(assertions) != 1:
            if assertions:
                decided(request.path, "refused", reason="there are two assertions")
            raise refusal("This server is reached through Cloudflare Access only.", "Bearer")
        try:
            return await self._tokens.user(assertions[0], self._audiences)
        except InvalidToken as e:
            decided(request.path, "refused", reason=str(e))
            raise refusal("Cloudflare Access's assertion is not valid here.", 'Bearer error="invalid_token"') from e

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """Never happens with `auth=access`; answered for completeness."""
        return step_up(request, needed)

    async def _keys(self) -> Jwks:
        return self._jwks

    async def _read(self, header: dict[str, Any], claims: dict[str, Any]) -> VerifiedToken:
        del header
        # Access signs tokens for its own sign-in pages with the same keys; those are of type `org`.
        if claims.get("type") != "app":
            raise InvalidToken("it is no application token")
        person, machine = text(claims, "sub"), text(claims, "common_name")
        if not person and not machine:
            raise InvalidToken("it names nobody")
        # A service token or a certificate has no `sub`; what it is called must not pass for a person's id.
        subject = person or f"common_name:{machine}"
        if not is_name(subject):
            raise InvalidToken("its name is too long, or cannot be seen")
        user = User(issuer=claims["iss"], subject=subject, name=text(claims, "email") or machine or subject)
        return VerifiedToken(user, texts(claims.get("aud")), claims["exp"])
