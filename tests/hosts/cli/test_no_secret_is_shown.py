"""Neither the table of options, nor the banner, nor the refusal of an option shows a secret, wherever it was put."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mcp_edge.app import create_app
from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.cli.banner import banner
from mcp_edge.hosts.cli.settings import shown, table
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.choose import open_store
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from my_server.server import create_server
from tests.hosts.cli.command import PREFIX, clean_env, mcp_edge

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
STRONG = {"MCP_SECRET_KEYS": "4f9c1b7e0a2d8365f1e4c7092b6ad5831c0e9f7a"}
DIGEST = "ab" * 32
URLS = [
    f"https://user:{TOKEN}@api.example/v1",
    f"https://{TOKEN}@api.example",
    f"https://user:p@{TOKEN}@api.example",
    f"https://user:p/{TOKEN}@api.example",
    f"https://user:p?{TOKEN}#@api.example",
    f"redis://:{TOKEN}@cache.example:6379/0",
    f"https://api.example/v1?api_key={TOKEN}",
    f"//user:{TOKEN}@api.example",
]
TEXTS = [
    name for name, field in Settings.model_fields.items() if str(field.annotation) in ("<class 'str'>", "str | None")
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("name", TEXTS)
def test_no_url_is_shown_with_its_password(name: str, url: str) -> None:
    assert TOKEN not in shown(name, url)
    assert TOKEN not in shown(name, (url, "https://api.example"))


def test_the_table_shows_where_a_url_leads_and_who_has_a_key() -> None:
    text = table(
        {
            "MCP_UPSTREAM_URL": f"https://user:{TOKEN}@api.example/v1",
            "MCP_IDENTITY_ISSUER": f"https://{TOKEN}@idp.example",
            "MCP_ALLOWED_ORIGINS": f"https://user:{TOKEN}@pages.example,https://other.example",
            "MCP_STORE": "sqlite:/data/mcp.db",
            "MCP_UPSTREAM_TOKENS": f"{TOKEN}:alice,alice@example.com:x",
            "MCP_KEYS": f"bob:{DIGEST}",
        }
    )
    assert TOKEN not in text
    for part in (
        "https://…@api.example/v1",
        "https://…@idp.example",
        "https://…@pages.example, https://other.example",
        "sqlite:/data/mcp.db",
        "ghp_16C7…:(set), alice@example.com:(set)",
        "bob:(set)",
    ):
        assert part in text


def test_the_banner_shows_no_secret() -> None:
    settings = Settings.from_env({"MCP_KEYS": f"{TOKEN}:{DIGEST}", "MCP_AUTH": "keys"})
    settings = settings.model_copy(update={"store": f"redis://:{TOKEN}@cache.example"})
    assert TOKEN not in banner("my_server.server:create_server", settings, "127.0.0.1", 8000)
    jwt = Settings.from_env({"MCP_AUTH": "jwt", "MCP_JWT_ISSUER": f"https://user:{TOKEN}@idp.example"})
    assert TOKEN not in banner("my_server.server:create_server", jwt, "127.0.0.1", 8000)


def refusal(env: dict[str, str]) -> str:
    """Why an app is not made of these settings; empty where one is."""
    try:
        settings = Settings.from_env(env)
        open_store(settings.store)
        create_app(create_server, Platform(settings, MemoryRecords(), MemoryAtomics()))
    except ConfigurationError as e:
        return str(e)
    return ""


OAUTH = {**STRONG, "MCP_AUTH": "oauth", "MCP_PUBLIC_URL": "https://mcp.example.com", "MCP_ALLOWED_USERS": "*"}
OIDC = {**OAUTH, "MCP_IDENTITY": "oidc", "MCP_IDENTITY_CLIENT_ID": "c"}


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({**OAUTH, "MCP_KEYS": f"a:{DIGEST}", "MCP_UPSTREAM_TOKENS": f"{TOKEN}:alice"}, "the name of entry 1"),
        ({"MCP_UPSTREAM_TOKENS": f"{TOKEN}:alice,{TOKEN}:bob"}, "entry 2 has the same name"),
        ({"MCP_UPSTREAM_TOKENS": TOKEN}, "entry 1"),
        ({"MCP_UPSTREAM_TOKENS": f'{{"{TOKEN}": 5}}'}, "valid string"),
        ({"MCP_UPSTREAM_TOKENS": f'{{"{TOKEN}": "x"'}, "MCP_UPSTREAM_TOKENS"),
        ({"MCP_UPSTREAM_TOKENS": '{"a":' * 100_000}, "nested too deeply"),
        ({"MCP_KEYS": f"{TOKEN}:alice"}, "entry 1"),
        ({"MCP_KEYS": f"a:{DIGEST}, {TOKEN}:{DIGEST}: x"}, "entry 2"),
        ({"MCP_CLIENTS": TOKEN}, "MCP_CLIENTS"),
        ({"MCP_CLIENTS": f'["{TOKEN}"]'}, "MCP_CLIENTS"),
        ({"MCP_CLIENTS": f'{{"client_id": "{TOKEN}"}}'}, "MCP_CLIENTS"),
        ({"MCP_CLIENTS": "[" * 100_000}, "nested too deeply"),
        ({**OAUTH, "MCP_CLIENTS": f'[{{"client_id": "a", "client_secret": "{TOKEN}"}}]'}, "client 1"),
        ({**OAUTH, "MCP_CLIENTS": f'[{{"client_id": "a", "client_secret_sha256": "{TOKEN}"}}]'}, "client 1"),
        ({**OAUTH, "MCP_CLIENTS": f'[{{"client_id": "a", "redirect_uris": ["{TOKEN}"]}}]'}, "client 1"),
        ({"MCP_SECRET_KEYS": f"{TOKEN}\udcff" * 2}, "MCP_SECRET_KEYS"),
        ({"MCP_PROXY_SECRET": f"{TOKEN}\udcff"}, "MCP_PROXY_SECRET"),
        ({"MCP_PUBLIC_URL": f"https://user:{TOKEN}\u2100@mcp.example"}, "MCP_PUBLIC_URL"),
        ({"MCP_PUBLIC_URL": f"https://user:{TOKEN}@mcp.example"}, "without user"),
        ({"MCP_PUBLIC_URL": f"https://user:{TOKEN}@[::1"}, "is no URL"),
        ({"MCP_PUBLIC_URL": "https://:443"}, "absolute"),
        ({"MCP_AUTH": TOKEN}, "MCP_AUTH"),
        ({"MCP_DRAIN_S": TOKEN}, "MCP_DRAIN_S"),
        ({"MCP_MAX_STREAMS": TOKEN}, "MCP_MAX_STREAMS"),
        ({"MCP_REGISTRATION": TOKEN}, "MCP_REGISTRATION"),
        ({**OIDC, "MCP_IDENTITY_ISSUER": f"http://user:{TOKEN}@idp.example"}, "must be https"),
        (
            {
                **OAUTH,
                "MCP_IDENTITY": "github",
                "MCP_IDENTITY_CLIENT_ID": "c",
                "MCP_IDENTITY_ISSUER": f"http://{TOKEN}@g",
            },
            "must be https",
        ),
        ({**OAUTH, "MCP_AUTH": "jwt", "MCP_JWT_ISSUER": f"https://{TOKEN}@idp.example"}, "must be https"),
        (
            {
                **OAUTH,
                "MCP_AUTH": "jwt",
                "MCP_JWT_ISSUER": "https://idp.example",
                "MCP_JWT_JWKS_URL": f"http://{TOKEN}@idp.example",
            },
            "must be https",
        ),
        (
            {**OAUTH, "MCP_AUTH": "access", "MCP_CERTIFICATE_HEADER": "X", "MCP_PROXY_SECRET": TOKEN[:31]},
            "MCP_PROXY_SECRET of at least 32 bytes",
        ),
        ({"MCP_STORE": f"redis://:{TOKEN}@cache.example"}, "MCP_STORE"),
    ],
)
def test_the_refusal_of_an_option_names_it_and_does_not_quote_it(env: dict[str, str], says: str) -> None:
    said = refusal(env)
    assert says in said
    assert TOKEN[:31] not in said


def test_an_endpoint_that_is_none_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"ftp://user:{TOKEN}@dynamodb.example")
    with pytest.raises(ConfigurationError) as refused:
        open_store("dynamodb:mcp-table")
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("secret", ["short", "x" * 31, f"{STRONG['MCP_SECRET_KEYS']},short", "ä" * 15])
def test_a_short_secret_is_a_sentence_on_loopback_too(tmp_path: Path, secret: str) -> None:
    for wire in ([], ["--stdio"]):
        done = mcp_edge("serve", "--port", "0", *wire, cwd=tmp_path, env={"MCP_SECRET_KEYS": secret})
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        position = secret.count(",") + 1
        assert f"Secret {position} of MCP_SECRET_KEYS is shorter than 32 bytes" in done.stderr
        assert "short," not in done.stderr


def test_a_secret_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    env = {**{k.encode(): v.encode() for k, v in clean_env().items()}, b"MCP_SECRET_KEYS": b"\xff" * 40}
    done = subprocess.run(
        [*PREFIX, "serve", "--port", "0"], cwd=tmp_path, env=env, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert done.stderr.startswith(b"mcp-edge: MCP_SECRET_KEYS: ")


def test_thirty_two_bytes_are_enough_on_loopback(tmp_path: Path) -> None:
    from tests.hosts.cli.test_serve import serving

    with serving(tmp_path, env={"MCP_SECRET_KEYS": "x" * 32}):
        assert os.listdir(tmp_path / ".data")
