"""`auth=jwt`: access tokens that another authorization server has signed (RFC 9068), such as those of Auth0, Entra,
Cognito and Keycloak. Its keys are found through its metadata. Tokens are never passed on to anybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from mcp_edge.audit import decided
from mcp_edge.auth.authenticator import bearer
from mcp_edge.auth.identity.jwks import InvalidToken, Jwks
from mcp_edge.auth.identity.provider_metadata import ProviderDocument
from mcp_edge.auth.resource import challenges
from mcp_edge.auth.resource.apps_own import is_apps_own
from mcp_edge.auth.resource.token_cache import (
    TokenCache,
    VerifiedToken,
    is_name,
    says_something,
    text,
    texts,
)
from mcp_edge.auth.resource.token_kind import refuse_other_kinds
from mcp_edge.auth.scopes import Scopes
from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.outbound.fetch import is_protected
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.urls import Urls
from mcp_edge.text.ascii import stripped
from mcp_edge.user import User

_WHOSE = "The authorization server"
_EVERY_CLIENT = "*"


class JwtTokens:
    """Authenticates by the access tokens of another authorization server (RFC 9068)."""

    def __init__(self, platform: Platform, urls: Urls, scopes: Callable[[], Awaitable[Scopes]]) -> None:
        """`urls` are this server's own; `scopes` starts the server, which declares the scopes.

        Raises:
            ConfigurationError: the issuer is not set, or its keys would not come over https.
        """
        settings = platform.settings
        if not settings.jwt_issuer:
            raise ConfigurationError("MCP_AUTH=jwt needs MCP_JWT_ISSUER: the `iss` of the tokens to accept, exactly.")
        self._platform = platform
        self._urls = urls
        self._scopes = scopes
        self._audience = frozenset(settings.jwt_audience)
        self._clients = frozenset(settings.jwt_clients)
        self._audiences = {path: self._audience or urls.accepted_at(path) for path in ("/mcp", "/sse", "/messages")}
        self._metadata = _metadata(platform, settings.jwt_issuer)
        self._jwks = Jwks(platform, settings.jwt_jwks_url) if settings.jwt_jwks_url else None
        self._jwks_uri = settings.jwt_jwks_url or ""
        self._fixed = self._jwks is not None
        self._tokens = TokenCache(platform, settings.jwt_issuer, self._keys, self._read)

    async def authenticate(self, request: Request) -> User:
        """The user whom the bearer token names.

        Raises:
            Unauthenticated: no bearer token was sent, or one that is not valid at this path.
            UpstreamError: the authorization server's keys cannot be had.
        """
        token = bearer(request)
        if token is None:
            raise challenges.missing(self._urls, request.path, (await self._scopes()).baseline)
        try:
            return await self._tokens.user(stripped(token), self._audiences[request.path])
        except InvalidToken as e:
            decided(request.path, "refused", reason=str(e))
            raise challenges.invalid(self._urls, request.path, (await self._scopes()).baseline) from e

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """The challenge that names the scopes which the token lacks (RFC 6750 §3.1)."""
        return challenges.insufficient(self._urls, request.path, needed).headers

    async def _keys(self) -> Jwks:
        """The issuer's keys, wherever its metadata says that they are now."""
        if self._jwks is None or not self._fixed:
            uri = await _first(self._metadata)
            if self._jwks is None or uri != self._jwks_uri:
                self._jwks, self._jwks_uri = Jwks(self._platform, uri), uri
        return self._jwks

    async def _read(self, header: dict[str, Any], claims: dict[str, Any]) -> VerifiedToken:
        audiences = texts(claims.get("aud"))
        if "aud" not in claims and claims.get("token_use") == "access":
            audiences = texts(claims.get("client_id"))  # Cognito: MCP_JWT_AUDIENCE lists the app clients
        refuse_other_kinds(header, claims, audiences)
        if "cnf" in claims:  # RFC 7800: bound to a key of its client's, which a bearer does not prove (RFC 9449 §7.1)
            raise InvalidToken("it is bound to a key that is not proven")
        subject, tenant = text(claims, "sub"), text(claims, "tid", "org_id")
        if not is_name(subject) or (tenant and not is_name(tenant)) or "|" in tenant:  # it parts a principal's parts
            raise InvalidToken("it names no subject")
        client = text(claims, "client_id", "cid", "azp", "appid")
        scopes, granted = await self._scopes(), self._granted(claims)
        if granted.isdisjoint(scopes.by_name):
            self._refuse_unadmitted(claims, client)
        user = User(
            issuer=claims["iss"],
            subject=subject,
            tenant=tenant,
            name=text(claims, "name", "preferred_username", "email", "username") or subject,
            scopes=scopes.closure(granted),
            client=client,
        )
        return VerifiedToken(user, audiences, claims["exp"])

    def _refuse_unadmitted(self, claims: dict[str, Any], client: str) -> None:
        """Refuse an app's own token if nobody has admitted the app: the token has no scope of this server and no role
        (Entra's app roles are those of the token's audience), and `MCP_JWT_CLIENTS` does not name the app.

        Raises:
            InvalidToken: the app is not admitted.
        """
        if says_something(claims.get("roles")) or not is_apps_own(claims):
            return
        if client not in self._clients and _EVERY_CLIENT not in self._clients:
            named = f"the client {client}" if client else "a client"
            raise InvalidToken(f"{named} got it for itself, without a scope of this server, a role, or MCP_JWT_CLIENTS")

    def _granted(self, claims: dict[str, Any]) -> set[str]:
        """The scopes that the token carries: a text of words (RFC 9068 §2.2.3) or a list, under the names in use.

        Cognito writes the resource server in front of each: `https://mcp.example.com/notes:read`.
        """
        lists = [words for name in ("scope", "scp", "permissions") for words in texts(claims.get(name))]
        granted = {word for words in lists for word in words.split(" ") if word}
        prefixes = [f"{audience.rstrip('/')}/" for audience in (*self._audience, *self._urls.resources)]
        return granted | {word[len(p) :] for word in granted for p in prefixes if word.startswith(p)}


def _metadata(platform: Platform, issuer: str) -> list[ProviderDocument[str]]:
    """The documents that may name the issuer's keys (OpenID Connect Discovery 1.0 §4, RFC 8414 §3)."""

    def jwks_uri(document: dict[str, Any]) -> str:
        uri = document.get("jwks_uri")
        if document.get("issuer") != issuer:
            raise UpstreamError(f"{_WHOSE} calls itself otherwise than MCP_JWT_ISSUER does.")
        if not isinstance(uri, str) or not is_protected(uri):
            raise UpstreamError(f"{_WHOSE}'s metadata names no keys that could be trusted.")
        return uri

    parts = urlsplit(issuer)
    locations = (
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}",
    )
    return [ProviderDocument(platform, url, jwks_uri, whose=_WHOSE) for url in locations]


async def _first(documents: list[ProviderDocument[str]]) -> str:
    for document in documents[:-1]:
        try:
            return await document.get()
        except UpstreamError:
            continue
    return await documents[-1].get()
