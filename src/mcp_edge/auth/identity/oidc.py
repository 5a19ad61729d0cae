"""Signs users in at any OpenID Connect provider: discovery, the code flow with PKCE and nonce, a verified ID token."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import urlsplit

from mcp_edge.auth.identity.admission import Admission
from mcp_edge.auth.identity.id_token import MAX_SUBJECT, verified
from mcp_edge.auth.identity.jwks import Jwks
from mcp_edge.auth.identity.oauth_client import OAuthClient, SecretMethod
from mcp_edge.auth.identity.provider import Departure, Identity, SignInRefused, TokenSet
from mcp_edge.auth.identity.provider_metadata import ProviderDocument
from mcp_edge.errors import UpstreamError
from mcp_edge.outbound.fetch import is_protected, json_object
from mcp_edge.platform import Platform
from mcp_edge.text.ascii import stripped
from mcp_edge.user import User

WELL_KNOWN = "/.well-known/openid-configuration"

_TENANTS = ("tid", "org_id", "hd")
"""Claims that name the tenant: Entra's, Auth0's and Google's."""
_GOOGLE = "accounts.google.com"
"""Anybody may have an account here under any address that he could once read: only `hd` says whose account it is."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is used of a provider's metadata (OpenID Connect Discovery 1.0 §3, RFC 8414 §2)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    secret_methods: tuple[str, ...]
    algorithms: tuple[str, ...]
    scopes: tuple[str, ...]
    names_itself: bool
    """Whether it puts its issuer into its answers (RFC 9207 §3)."""

    @property
    def secret_method(self) -> SecretMethod:
        """How it takes a client's secret."""
        return "client_secret_basic" if "client_secret_basic" in self.secret_methods else "client_secret_post"


class Oidc:
    """One OpenID Connect provider, as a `RedirectProvider`."""

    def __init__(
        self,
        platform: Platform,
        *,
        issuer: str,
        client_id: str,
        client_secret: str = "",
        scopes: Sequence[str] = (),
        admission: Admission,
        keeps_tokens: bool = False,
    ) -> None:
        """`issuer` exactly as the provider names itself. `keeps_tokens`: tools use them, so they must be renewable.

        Raises:
            ConfigurationError: the issuer is not an https URL.
        """
        self._platform = platform
        self._issuer = issuer
        self._is_googles = urlsplit(issuer).hostname == _GOOGLE
        self._client = OAuthClient(platform, urlsplit(issuer).netloc, client_id, client_secret)
        self._scopes = scopes
        self._admission = admission
        self._keeps_tokens = keeps_tokens
        self._metadata = ProviderDocument(
            platform, issuer.rstrip("/") + WELL_KNOWN, self._read, whose="The identity provider"
        )
        self._jwks: Jwks | None = None
        self._jwks_uri = ""

    @property
    def issuer(self) -> str:
        """As it names itself."""
        return self._issuer

    @property
    def label(self) -> str:
        """Its name on our pages."""
        return self._client.label

    async def depart(self, *, state: str, callback: str) -> Departure:
        """Begin: the browser goes to the provider."""
        metadata = await self._metadata.get()
        nonce = randomness.token_urlsafe(24)
        scopes = ["openid", "profile", *(["email"] if self._admission.asks_for_email else []), *self._scopes]
        more = {"nonce": nonce}
        if self._keeps_tokens and self._is_googles:  # Google's own way to ask for a refresh token
            more |= {"access_type": "offline", "prompt": "consent"}
        elif self._keeps_tokens and "offline_access" in metadata.scopes:
            scopes.append("offline_access")
            more["prompt"] = "consent"  # without it the scope is ignored (OpenID Connect Core 1.0 §11)
        departure = self._client.departure(
            metadata.authorization_endpoint, state=state, callback=callback, scopes=scopes, more=more
        )
        return Departure(departure.url, {**departure.secrets, "nonce": nonce})

    async def arrive(self, query: Mapping[str, str], secrets: Mapping[str, str], *, callback: str) -> Identity:
        """Finish: a code for tokens, and the ID token for the user."""
        metadata = await self._metadata.get()
        code = self._client.code(query, issuer=self._issuer, names_itself=metadata.names_itself)
        answer = await self._client.redeem(
            metadata.token_endpoint, code, secrets, callback=callback, method=metadata.secret_method
        )
        tokens = self._client.tokens(answer)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInRefused(f"{self.label} did not say who you are.", "no id_token")
        claims = await verified(
            token,
            self._keys(metadata),
            algorithms=metadata.algorithms,
            issuer=self._issuer,
            client_id=self._client.id,
            nonce=secrets.get("nonce", ""),
            now=self._platform.clock(),
        )
        user = self._user(claims)
        return Identity(replace(user, admitted=await self._admit(user, claims, metadata, tokens)), tokens)

    def admits(self, user: User) -> bool:
        """Whether what let this user in is still there."""
        member_of = self._member_of(user)
        return user.issuer == self._issuer and self._admission.still(user.admitted, member_of=member_of)

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """Fresh tokens. An ID token beside them says nothing new and is not read."""
        metadata = await self._metadata.get()
        return await self._client.renew(metadata.token_endpoint, tokens, metadata.secret_method)

    def _member_of(self, user: User) -> str | None:
        """The domain that the account belongs to; None where an address is all that the provider says of it."""
        return user.tenant if self._is_googles else None

    async def _admit(self, user: User, claims: dict[str, Any], metadata: Metadata, tokens: TokenSet) -> str:
        subject = user.subject
        if self._admission.needs_email(subject) and not _emails(claims) and metadata.userinfo_endpoint:
            response = await self._client.get(metadata.userinfo_endpoint, tokens.access_token)
            claims = json_object(response, self.label)
            if claims.get("sub") != subject:  # OpenID Connect Core 1.0 §5.3.2
                raise SignInRefused(f"{self.label} did not say who you are.", "userinfo is about another subject")
        return self._admission.check(subject, emails=_emails(claims), member_of=self._member_of(user))

    def _user(self, claims: dict[str, Any]) -> User:
        tenants = ("hd",) if self._is_googles else _TENANTS
        tenant = next((claims[name] for name in tenants if isinstance(claims.get(name), str)), "")
        if "|" in tenant or len(tenant) > MAX_SUBJECT or not tenant.isprintable():  # it parts a principal's parts
            raise SignInRefused(f"{self.label} did not say who you are.", "the tenant is not one")
        names = (claims.get(name) for name in ("name", "preferred_username", "email"))
        name = next((name for name in names if isinstance(name, str) and stripped(name)), claims["sub"])
        return User(issuer=self._issuer, tenant=tenant, subject=claims["sub"], name=name[:MAX_SUBJECT])

    def _keys(self, metadata: Metadata) -> Jwks:
        if self._jwks is None or self._jwks_uri != metadata.jwks_uri:
            self._jwks, self._jwks_uri = Jwks(self._platform, metadata.jwks_uri), metadata.jwks_uri
        return self._jwks

    def _read(self, document: dict[str, Any]) -> Metadata:
        """The metadata, if it is this issuer's own.

        Raises:
            UpstreamError: it is another's, or names endpoints that are not protected.
        """
        if document.get("issuer") != self._issuer:
            raise UpstreamError("The identity provider names itself by another issuer than this server is set to.")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        authorization, token, jwks = (self._trusted(document.get(name)) for name in names)
        userinfo = document.get("userinfo_endpoint")
        return Metadata(
            authorization_endpoint=authorization,
            token_endpoint=token,
            jwks_uri=jwks,
            userinfo_endpoint="" if userinfo is None else self._trusted(userinfo),
            secret_methods=_texts(document.get("token_endpoint_auth_methods_supported")) or ("client_secret_basic",),
            algorithms=_texts(document.get("id_token_signing_alg_values_supported")) or ("RS256",),
            scopes=_texts(document.get("scopes_supported")),
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _trusted(self, url: Any) -> str:
        """An endpoint. Only a provider on this machine may send us to this machine."""
        if isinstance(url, str) and is_protected(url) and (url[:6] == "https:" or self._issuer[:5] == "http:"):
            return url
        raise UpstreamError("The identity provider's metadata names no endpoints that can be trusted.")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(v for v in cast("list[Any]", value) if isinstance(v, str)) if isinstance(value, list) else ()


def _emails(claims: Mapping[str, Any]) -> list[str]:
    """The verified address. Some providers write the boolean as text."""
    email = claims.get("email")
    return [email] if isinstance(email, str) and claims.get("email_verified") in (True, "true") else []
