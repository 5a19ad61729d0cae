"""A server without sign-in is for its own machine: what a proxy on that machine passes on is refused."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.hosts.cli.test_serve import serving

PASSED_ON = [
    {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "mcp.example.org", "X-Forwarded-Server": "mcp.example.org"},
    {"Forwarded": "for=203.0.113.9"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "203.0.113.9"},
    {"CF-Connecting-IP": "203.0.113.9"},
    {"X-Forwarded-Proto": "https"},
]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}
DEV = {"MCP_AUTH": "oauth", "MCP_IDENTITY": "dev"}


def initialized(url: str, headers: dict[str, str]) -> int:
    return httpx.post(f"{url}/mcp", json=INITIALIZE, headers={**ACCEPT, **headers}).status_code


def test_what_a_proxy_passes_on_is_refused_and_the_reason_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "sqlite:x.db") as (_, url):
        assert initialized(url, {}) == 200
        for headers in PASSED_ON:
            assert initialized(url, headers) == 403, headers
        said = httpx.get(f"{url}/sse", headers=PASSED_ON[0])
    assert said.status_code == 403
    assert "--insecure" in said.json()["error"]


def test_nobody_signs_in_by_a_name_through_a_proxy(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "sqlite:x.db", env=DEV) as (_, url):
        assert httpx.get(f"{url}/.well-known/oauth-authorization-server").status_code == 200
        assert httpx.get(f"{url}/sign-in", headers=PASSED_ON[0]).status_code == 403


def test_whoever_says_that_the_proxy_decides_is_served_through_it(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "sqlite:x.db", "--insecure") as (_, url):
        assert [initialized(url, headers) for headers in PASSED_ON] == [200] * len(PASSED_ON)


@pytest.mark.parametrize("headers", PASSED_ON)
def test_a_server_with_keys_may_be_behind_any_proxy(tmp_path: Path, headers: dict[str, str]) -> None:
    env = {"MCP_AUTH": "keys", "MCP_KEYS": "alice:" + "ab" * 32, "MCP_SECRET_KEYS": "4f9c1b7e0a2d8365f1e4c7092b6ad583"}
    with serving(tmp_path, "--store", "sqlite:x.db", env=env) as (_, url):
        assert initialized(url, headers) == 401
