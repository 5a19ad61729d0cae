"""An authorization server that signs tokens and publishes its keys within the test, and a server that trusts it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from mcp_edge.auth.modes import AuthMode, choose_mode
from mcp_edge.auth.scopes import Scope, Scopes
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.routing import RouteTable
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.user import User

RSA, OTHER_RSA = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())

NOW = 1_700_000_000.0
HERE = "https://mcp.example.com"

SCOPES = Scopes(
    (
        Scope("notes:read", "read"),
        Scope("notes:write", "write", implies=("notes:read",)),
        Scope("x", "x", on_demand=True),
    )
)


@dataclass
class Issuer:
    """What a test sets: its name, keys, metadata, and the time. It counts what it is asked for."""

    url: str = "https://issuer.test"
    now: float = NOW
    keys: dict[str, Any] = field(default_factory=lambda: {"rsa": RSA, "ec": EC})
    """Key id -> private key."""
    jwks_path: str = "/keys"
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """Members of its metadata other than those that are right."""
    metadata_path: str = "/.well-known/openid-configuration"
    away: bool = False
    asked: list[str] = field(default_factory=list[str])
    _ids: Callable[[], int] = field(default_factory=lambda: itertools.count().__next__)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if self.away:
            raise httpx.ConnectError("away")
        path = str(request.url).removeprefix(self.url.rstrip("/"))
        if path == self.metadata_path:
            keys = self.url.rstrip("/") + self.jwks_path
            return httpx.Response(200, json={"issuer": self.url, "jwks_uri": keys, **self.metadata})
        if path == self.jwks_path:
            return httpx.Response(200, json={"keys": [public(kid, key) for kid, key in self.keys.items()]})
        return httpx.Response(404)

    def platform(self, **settings: Any) -> Platform:
        """A host whose clock is the issuer's, and whose HTTP client reaches nothing else."""
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return Platform(
            settings=Settings.model_validate({"public_url": HERE, "store": "memory:", **settings}),
            records=MemoryRecords(self.clock),
            atomics=MemoryAtomics(self.clock),
            http=lambda: client,
            clock=self.clock,
        )

    def mode(self, **settings: Any) -> AuthMode:
        """The mode of a server that trusts this issuer."""
        return choose_mode(self.platform(**settings), scopes)

    def clock(self) -> float:
        return self.now

    def claims(self, **more: Any) -> dict[str, Any]:
        """The claims of an access token for the whole server; None takes one away."""
        claims = {
            "iss": self.url,
            "sub": "alice",
            "aud": HERE,
            "client_id": "app",
            "scope": "notes:read",
            "iat": int(self.now),
            "exp": int(self.now) + 3600,
            "jti": str(self._ids()),
            **more,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(
        self, claims: dict[str, Any], *, kid: str | None = "rsa", key: Any = None, alg: str = "RS256", **header: Any
    ) -> str:
        """A token with these claims."""
        more = {"typ": "at+jwt", **({} if kid is None else {"kid": kid}), **header}
        return jwt.encode(claims, key or self.keys[kid or "rsa"], algorithm=alg, headers=more)

    def token(self, **claims: Any) -> str:
        """A good token, with other claims."""
        return self.sign(self.claims(**claims))


def public(kid: str, key: Any) -> dict[str, Any]:
    """The JWK of a private key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


async def scopes() -> Scopes:
    return SCOPES


def asking(headers: dict[str, str], path: str = "/mcp", query: str = "") -> Request:
    """A request to the server; nothing of its body is read."""

    async def nothing(*_: object) -> Any:
        raise AssertionError("nothing is received or sent")

    fields = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope: Any = {"type": "http", "method": "POST", "path": path, "headers": fields, "query_string": query.encode()}
    return Request(scope, nothing, nothing)


def bearing(token: str, path: str = "/mcp") -> Request:
    """A request with a bearer token."""
    return asking({"authorization": f"Bearer {token}"}, path)


async def user_of(mode: AuthMode, token: str, path: str = "/mcp") -> User:
    """Whom the mode sees in a bearer token."""
    return await mode.authenticator.authenticate(bearing(token, path))


class Answered:
    """Sends a request to a handler and keeps the answer."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @classmethod
    async def by(cls, mode: AuthMode, path: str, method: str = "GET") -> Answered:
        answered = cls()
        route = RouteTable(mode.routes).find(path)
        assert route is not None
        scope: Any = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        await route.handler(Request(scope, receive, answered._send))
        return answered

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self.body += message["body"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)
