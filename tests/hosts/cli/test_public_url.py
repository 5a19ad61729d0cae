"""A public URL says who can reach what listens on loopback: whoever a tunnel or a proxy lets through."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.exposure import refuse_unsafe
from mcp_edge.settings import Settings

PUBLIC, LOCAL = {"MCP_PUBLIC_URL": "https://mcp.example.com"}, {"MCP_PUBLIC_URL": "http://127.0.0.1:8000"}
KEYS = {"MCP_KEYS": "alice:" + "ab" * 32}


def refusal(env: dict[str, str], host: str = "127.0.0.1", **more: Any) -> str:
    """Why these settings may not be served there; empty when they may."""
    try:
        refuse_unsafe(Settings.from_env(env), host, **{"insecure": False, **more})
    except ConfigurationError as e:
        return str(e)
    return ""


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"MCP_AUTH": "none"}, "--auth none would let everybody who can reach https://mcp.example.com use"),
        ({"MCP_AUTH": "oauth"}, "MCP_IDENTITY=dev lets everybody be whom they like"),
        ({"MCP_AUTH": "oauth", "MCP_IDENTITY": "keys", **KEYS, "MCP_SECRET_KEYS": "changeme" * 5}, "is a placeholder"),
    ],
)
def test_behind_a_tunnel_loopback_is_no_protection(env: dict[str, str], says: str) -> None:
    assert says in refusal({**env, **PUBLIC})
    assert refusal({**env, **LOCAL}) == refusal(env) == ""


def test_behind_a_tunnel_a_sign_in_that_proves_something_may_be_served() -> None:
    for env in ({"MCP_AUTH": "oauth", "MCP_IDENTITY": "keys"}, {"MCP_AUTH": "keys"}, {"MCP_AUTH": "access"}):
        assert refusal({**env, **KEYS, **PUBLIC}) == ""
    assert refusal({"MCP_AUTH": "none", **PUBLIC}, insecure=True) == ""


def test_a_public_url_of_plain_http_is_refused_for_oauth_wherever_it_listens() -> None:
    env = {"MCP_AUTH": "oauth", "MCP_IDENTITY": "keys", **KEYS}
    assert "is not https" in refusal({**env, "MCP_PUBLIC_URL": "http://mcp.example.com"})
    assert refusal({**env, **PUBLIC}) == ""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://MCP.Example.com", "https://mcp.example.com"),
        ("HTTPS://mcp.example.com:8443/Base/", "https://mcp.example.com:8443/Base"),
    ],
)
def test_it_is_kept_as_clients_write_it(given: str, kept: str) -> None:
    assert Settings.from_env({"MCP_PUBLIC_URL": given}).public_url == kept
