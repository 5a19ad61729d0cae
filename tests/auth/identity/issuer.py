"""An OpenID Connect provider made of answers: everything that it says can be changed, also to what none would say."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from mcp_edge.auth.identity.admission import Admission
from mcp_edge.auth.identity.oidc import Oidc
from mcp_edge.auth.identity.provider import Identity
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords

ISSUER = "https://issuer.test"
CALLBACK = "https://mcp.example/oauth/callback"
NOW = 1_800_000_000
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(kid: str, key: rsa.RSAPrivateKey = RSA, **more: Any) -> dict[str, Any]:
    """The public key as its issuer publishes it."""
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def ec_jwk(kid: str) -> dict[str, Any]:
    """The same of the elliptic curve key."""
    return {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": kid}


@dataclass
class FakeIssuer:
    """What it answers. `claims` are added to those of an honest ID token; None takes one away."""

    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    keys: list[dict[str, Any]] = field(default_factory=lambda: [rsa_jwk("first"), ec_jwk("curve")])
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    header: dict[str, Any] = field(default_factory=lambda: {"kid": "first"})
    sign: Callable[[dict[str, Any], dict[str, Any]], str] = lambda claims, header: jwt.encode(
        claims, RSA, algorithm="RS256", headers=header
    )
    token_answer: dict[str, Any] = field(default_factory=dict[str, Any])
    userinfo: dict[str, Any] = field(default_factory=dict[str, Any])
    instead: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    """An answer in place of the usual one."""
    now: float = NOW
    nonce: str = ""
    requests: list[httpx.Request] = field(default_factory=list[httpx.Request])

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.instead(request)
        if answer is not None:
            return answer
        match request.url.path:
            case "/.well-known/openid-configuration":
                return httpx.Response(200, json=self.document())
            case "/jwks":
                return httpx.Response(200, json={"keys": self.keys})
            case "/token":
                return httpx.Response(200, json=self.tokens())
            case "/userinfo":
                return httpx.Response(200, json=self.userinfo)
            case path:
                raise AssertionError(f"nobody asks for {path}")

    def document(self) -> dict[str, Any]:
        """Its metadata."""
        told: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            **self.metadata,
        }
        return {name: value for name, value in told.items() if value is not None}

    def tokens(self) -> dict[str, Any]:
        """What its token endpoint answers."""
        honest = {
            "iss": ISSUER,
            "sub": "alice",
            "aud": "mcp",
            "exp": NOW + 300,
            "iat": NOW,
            "nonce": self.nonce,
            "name": "Alice",
        }
        claims = {name: value for name, value in (honest | self.claims).items() if value is not None}
        told: dict[str, Any] = {
            "access_token": "upstream-access",
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": self.sign(claims, self.header),
            **self.token_answer,
        }
        return {name: value for name, value in told.items() if value is not None}

    def platform(self) -> Platform:
        """A host from which nothing but this issuer can be reached."""
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return Platform(
            settings=Settings(),
            records=MemoryRecords(),
            atomics=MemoryAtomics(),
            http=lambda: client,
            clock=lambda: self.now,
        )

    def provider(self, *allowed: str, **more: Any) -> Oidc:
        """Us, as its client."""
        told: dict[str, Any] = {"issuer": ISSUER, "client_id": "mcp", "client_secret": "s3cret", **more}
        return Oidc(self.platform(), admission=Admission(allowed or ("*",)), **told)

    async def sign_in(self, provider: Oidc | None = None, **query: str) -> Identity:
        """A whole sign-in."""
        provider = provider or self.provider()
        departure = await provider.depart(state="state", callback=CALLBACK)
        self.nonce = dict(parse_qsl(urlsplit(departure.url).query))["nonce"]
        return await provider.arrive({"code": "code", **query}, departure.secrets, callback=CALLBACK)


def unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """A token of `alg: none`."""
    return f"{part({**header, 'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


def part(value: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
