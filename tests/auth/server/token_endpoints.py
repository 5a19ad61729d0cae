"""The whole app over an engine, beside the grants that it keeps: codes are made without a browser."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
from pydantic import SecretStr

from mcp_edge.app import create_app
from mcp_edge.auth.server.model import Client
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.settings import Settings
from tests.auth.server.deployment import create_server
from tests.auth.server.granting import APP, CALLBACK, OTHER, RING, SCOPES, URLS, VERIFIER, GrantInstance

SECRET = "s3cret: with % and é"
ODD = "odd:client+1%41"
SAFE = Client(ODD, "Safe", (CALLBACK,), "static", "client_secret_basic", sha256(SECRET.encode()).hexdigest())
ONCE = Client("once", "Once", (CALLBACK,), "static", grant_types=("authorization_code",))
KEY, LIMITED_KEY, FOREIGN_KEY = "mek_" + "1" * 64, "mek_" + "2" * 64, "mek_" + "3" * 64
FORM = "application/x-www-form-urlencoded"


def document(client: Client) -> dict[str, Any]:
    """The client, as the settings have it."""
    told: dict[str, Any] = {
        "client_id": client.id,
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": list(client.grant_types),
    }
    return told | ({"client_secret_sha256": client.secret_hash} if client.secret_hash else {})


def digest(key: str, issuer: str = URLS.issuer) -> str:
    """An access key's digest, for one server alone."""
    return sha256(f"{issuer}\n{key}".encode()).hexdigest()


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header of RFC 6749 §2.3.1."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


class TokenEndpoints:
    """One instance over HTTP."""

    def __init__(self, granting: GrantInstance, **settings: Any) -> None:
        self.granting = granting
        told: dict[str, Any] = {
            "public_url": URLS.issuer,
            "auth": "oauth",
            "identity": "dev",
            "secret_keys": tuple(SecretStr(key) for key in RING),
            "clients": [document(client) for client in (APP, OTHER, SAFE, ONCE)],
            "keys": {
                "ann": digest(KEY),
                "ben": f"{digest(LIMITED_KEY)}:notes:write",
                "cid": digest(FOREIGN_KEY, "https://elsewhere.example"),
            },
            **settings,
        }
        self.platform = Platform(Settings(**told), granting.records, granting.atomics, clock=granting.clock)
        self.app = create_app(create_server(SCOPES.all), self.platform)
        transport = httpx.ASGITransport(self.app, client=("198.51.100.7", 50000))
        self.http = httpx.AsyncClient(transport=transport, base_url=URLS.issuer, trust_env=False)

    async def post(
        self, path: str, form: Mapping[str, str] | list[tuple[str, str]], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A form, as a client sends it."""
        fields = list(form.items()) if isinstance(form, Mapping) else form
        return await self.http.post(path, content=urlencode(fields), headers={"content-type": FORM, **(headers or {})})

    async def redeem(self, code: str, client: str = "app", /, **more: str) -> httpx.Response:
        """As a public client does it."""
        form = {"grant_type": "authorization_code", "code": code, "client_id": client, "code_verifier": VERIFIER,
                "redirect_uri": CALLBACK}  # fmt: skip
        return await self.post("/token", form | more)

    async def refresh(self, token: str, client: str = "app", /, **more: str) -> httpx.Response:
        """As a public client does it."""
        return await self.post(
            "/token", {"grant_type": "refresh_token", "refresh_token": token, "client_id": client} | more
        )

    async def call(
        self, token: str | None, path: str = "/mcp", *, scheme: str = "Bearer", query: str = ""
    ) -> httpx.Response:
        """One request of a client that has a token, to an endpoint that needs one."""
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        if token is not None:
            headers["authorization"] = f"{scheme} {token}"
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        return await self.http.post(path + query, content=body, headers=headers)

    def request(self, token: str, path: str = "/mcp") -> Request:
        """One that is not sent."""

        async def never(*_: object) -> Any:
            raise AssertionError("nobody reads or answers it")

        headers = [(b"host", b"notes.example"), (b"authorization", f"Bearer {token}".encode())]
        return Request({"type": "http", "method": "POST", "path": path, "headers": headers}, never, never)
