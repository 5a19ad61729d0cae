"""A certificate counts when the proxy that verified it names it, and when nobody else does."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mcp_edge.app import create_app
from mcp_edge.errors import ConfigurationError
from tests.oauth.deployment import PUBLIC_URL, create_server, deploy

SECRET = secrets.token_hex(32)
SUBJECT = "CN=ann,O=Example"


def client(secret: str = SECRET) -> httpx.AsyncClient:
    """A client of a server that takes certificates."""
    platform = deploy().platform
    told: dict[str, Any] = {
        "auth": "access",
        "certificate_header": "X-Client-Cert-Subject",
        "proxy_secret": SecretStr(secret) if secret else None,
    }
    app = create_app(create_server(), replace(platform, settings=platform.settings.model_copy(update=told)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL)


async def answer(headers: list[tuple[str, str]]) -> int:
    """The status of a request of revision 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "certificates", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    fields = [
        *headers,
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ]
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    async with client() as caller:
        return (await caller.post("/mcp", json=message, headers=fields)).status_code


@pytest.mark.anyio
async def test_the_proxys_word_is_taken() -> None:
    assert await answer([("x-proxy-secret", SECRET), ("x-client-cert-subject", SUBJECT)]) == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-client-cert-subject", SUBJECT)],
        [("x-proxy-secret", "x" * 64), ("x-client-cert-subject", SUBJECT)],
        [("x-proxy-secret", SECRET)],
        [("x-proxy-secret", SECRET), ("x-client-cert-subject", " ")],
        [("x-proxy-secret", SECRET), ("x-client-cert-subject", "x" * 513)],
        [("x-proxy-secret", SECRET), ("x-client-cert-subject", SUBJECT), ("x-client-cert-subject", "CN=eve")],
        [("authorization", f"Bearer {SECRET}"), ("x-client-cert-subject", SUBJECT)],
    ],
    ids=["nothing", "no secret", "another secret", "no name", "an empty name", "a long name", "two names", "a bearer"],
)
async def test_nobody_elses_is(headers: list[tuple[str, str]]) -> None:
    assert await answer(headers) == 401


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_without_a_secret_of_its_own_it_does_not_start(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="MCP_PROXY_SECRET"):
        client(secret)
