"""Every name that is answered says who can reach what listens on loopback, wherever in the settings it stands."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.exposure import refuse_unsafe
from mcp_edge.settings import Settings
from tests.hosts.cli.command import PREFIX, clean_env, mcp_edge
from tests.hosts.cli.test_serve import serving
from tests.support.deployment import Deployment

KEYS = {"MCP_KEYS": "alice:" + "ab" * 32}
STRONG = {"MCP_SECRET_KEYS": "4f9c1b7e0a2d8365f1e4c7092b6ad5831c0e9f7a"}
BY_KEY = {"MCP_AUTH": "oauth", "MCP_IDENTITY": "keys", **KEYS}
HERE = [
    "localhost",
    "LOCALHOST",
    "localhost:8000",
    "127.0.0.1",
    "127.0.0.1:443",
    "127.8.8.8",
    "[::1]",
    "[::1]:8000",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]",
]
ELSEWHERE = [
    "abc.tunnel.example",
    "ABC.Tunnel.Example",
    "abc.tunnel.example:443",
    "abc.tunnel.example.",
    "localhost.",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "127.0.0.1.",
    "0177.0.0.1",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0.0.0.0",
    "0",
    "[::]",
    "[2001:db8::1]:443",
    "[::ffff:192.0.2.1]",
    "192.0.2.1:8000",
    "*",
    "*.example",
    "*.localhost",
    "[::1",
    "https://abc.tunnel.example",
]
UNSAFE = [
    {"MCP_AUTH": "none"},
    {"MCP_AUTH": "oauth", "MCP_IDENTITY": "dev"},
    {"MCP_AUTH": "keys", **KEYS, "MCP_SECRET_KEYS": "short"},
    {"MCP_AUTH": "keys", **KEYS, "MCP_SECRET_KEYS": "changeme" * 5},
]


def refusal(env: dict[str, str], host: str = "127.0.0.1", *, insecure: bool = False) -> str:
    """Why these settings may not be served there; empty when they may."""
    try:
        refuse_unsafe(Settings.from_env(env), host, insecure=insecure)
    except ConfigurationError as e:
        return str(e)
    return ""


@pytest.mark.parametrize("env", UNSAFE, ids=["none", "dev", "short", "placeholder"])
@pytest.mark.parametrize("host", ELSEWHERE)
def test_an_allowed_host_is_no_more_trusted_than_a_public_url(env: dict[str, str], host: str) -> None:
    said = refusal({**env, "MCP_ALLOWED_HOSTS": f"localhost, {host}"})
    assert said.split("reach ")[0] == refusal({**env, "MCP_PUBLIC_URL": "https://mcp.example.com"}).split("reach ")[0]
    assert said


@pytest.mark.parametrize("host", HERE)
def test_another_name_of_loopback_is_loopback(host: str) -> None:
    for env in ({"MCP_AUTH": "none"}, {"MCP_AUTH": "oauth"}):
        assert refusal({**env, "MCP_ALLOWED_HOSTS": host}) == refusal({**env, "MCP_PUBLIC_URL": f"http://{host}"}) == ""


def test_what_may_be_at_a_public_url_may_be_at_an_allowed_host() -> None:
    tunnel = {"MCP_ALLOWED_HOSTS": "abc.tunnel.example", "MCP_PUBLIC_URL": "https://mcp.example.com"}
    for env in ({"MCP_AUTH": "keys", **KEYS}, BY_KEY, {"MCP_AUTH": "access"}, {"MCP_AUTH": "jwt"}):
        assert refusal({**env, **tunnel}) == ""
    assert refusal({"MCP_AUTH": "none", **tunnel}, insecure=True) == ""
    assert refusal({"MCP_AUTH": "keys", **KEYS, "MCP_ALLOWED_HOSTS": "abc.tunnel.example"}) == ""


@pytest.mark.parametrize("env", [BY_KEY, {"MCP_AUTH": "jwt"}, {"MCP_AUTH": "access"}])
@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://mcp.example.com"])
def test_an_allowed_host_behind_plain_http_is_refused_for_tokens(env: dict[str, str], url: str) -> None:
    assert "is not https" in refusal({**env, "MCP_PUBLIC_URL": url, "MCP_ALLOWED_HOSTS": "abc.tunnel.example"})
    assert "is not https" not in refusal({**env, "MCP_PUBLIC_URL": "http://127.0.0.1:8000"})


@pytest.mark.parametrize("origin", ["*", "https://evil.example", "http://localhost.evil.example", "null", "localhost"])
def test_without_authentication_no_other_page_is_admitted(origin: str) -> None:
    env = {"MCP_AUTH": "none", "MCP_ALLOWED_ORIGINS": f"http://localhost:3000, {origin}"}
    assert "MCP_ALLOWED_ORIGINS" in refusal(env)
    assert refusal(env, insecure=True) == ""
    assert refusal({**env, "MCP_AUTH": "keys", **KEYS}) == ""
    assert refusal({"MCP_ALLOWED_ORIGINS": "http://localhost:3000, https://[::1], HTTP://LOCALHOST"}) == ""


@pytest.mark.parametrize(
    ("options", "env", "says"),
    [
        ([], {"MCP_ALLOWED_HOSTS": "abc.tunnel.example"}, "everybody who can reach abc.tunnel.example use"),
        ([], {"MCP_ALLOWED_HOSTS": "*"}, "everybody who can reach * use"),
        (["--host", "0.0.0.0"], {"MCP_ALLOWED_HOSTS": "localhost", **STRONG}, "everybody who can reach 0.0.0.0 use"),
        (["--auth", "oauth"], {"MCP_ALLOWED_HOSTS": "abc.tunnel.example"}, "MCP_IDENTITY=dev"),
        (["--auth", "oauth"], {**BY_KEY, "MCP_ALLOWED_HOSTS": "abc.tunnel.example"}, "needs MCP_PUBLIC_URL"),
        ([], {"MCP_ALLOWED_ORIGINS": "*"}, "every web page use this server and its data"),
    ],
)
def test_serve_does_not_start(tmp_path: Path, options: list[str], env: dict[str, str], says: str) -> None:
    done = mcp_edge("serve", "--port", "0", *options, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tunnel_with_a_key_is_served(tmp_path: Path) -> None:
    import httpx

    env = {**KEYS, "MCP_ALLOWED_HOSTS": "abc.tunnel.example", "MCP_ALLOWED_ORIGINS": "*"}
    with serving(tmp_path, "--auth", "keys", env=env) as (_, url):
        answer = httpx.post(f"{url}/mcp", headers={"host": "abc.tunnel.example"}, json={})
        assert (answer.status_code, answer.json()["error"]["message"].split(":")[0]) == (401, "Send a bearer key")


def test_a_socket_that_is_handed_over_is_judged_by_its_own_address(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        descriptor = everywhere.fileno()
        done = subprocess.run(
            [*PREFIX, "serve", "--listen-fd", str(descriptor)],
            cwd=tmp_path,
            env=clean_env(STRONG),
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    assert "--auth none would let everybody who can reach 0.0.0.0" in done.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["abc.tunnel.example", "abc.tunnel.example:443", "localhost.", "127.1", "0.0.0.0"])
async def test_a_name_that_is_answered_is_one_that_was_judged(host: str) -> None:
    """The guard answers what the settings name, and nothing that it reads into it."""
    edge = Deployment()
    plain, named = edge.instance("A"), edge.instance("B", allowed_hosts=host)
    statuses = [
        (await at.send("POST", "/mcp", [("content-type", "application/json")], b"{", host=host).whole()).status
        for at in (plain, named)
    ]
    await edge.close()
    assert statuses == [421, 400]
