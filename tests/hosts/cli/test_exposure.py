"""What `serve` refuses: to be open to strangers, or to sign with what they could guess."""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.cli.banner import base_url
from mcp_edge.hosts.exposure import is_loopback, refuse_unsafe, weakness, with_secret
from mcp_edge.settings import Settings
from tests.hosts.cli.command import clean_env, mcp_edge

STRONG = "4f9c1b7e0a2d8365f1e4c7092b6ad5831c0e9f7a"
KEYS = {"MCP_KEYS": "alice:" + "ab" * 32}


@pytest.mark.parametrize(
    ("options", "env", "says"),
    [
        (["--host", "0.0.0.0"], {"MCP_SECRET_KEYS": STRONG}, ["--auth none", "keys create", "--insecure"]),
        (["--host", "::"], {"MCP_SECRET_KEYS": STRONG}, ["--auth none"]),
        (["--host", ""], {"MCP_SECRET_KEYS": STRONG}, ["--auth none"]),
        (["--auth", "keys"], {}, ["mcp-edge keys create"]),
        (["--host", "0.0.0.0", "--auth", "keys"], KEYS, ["MCP_SECRET_KEYS is required"]),
        (["--host", "0.0.0.0", "--insecure"], {}, ["MCP_SECRET_KEYS is required"]),
        (["--host", "0.0.0.0", "--auth", "keys"], {**KEYS, "MCP_SECRET_KEYS": f"{STRONG},short"}, ["Secret 2", "32"]),
        (["--host", "0.0.0.0", "--insecure"], {"MCP_SECRET_KEYS": "changeme" * 5}, ["placeholder"]),
        (["--host", "0.0.0.0", "--auth", "oauth"], {"MCP_SECRET_KEYS": STRONG}, ["MCP_IDENTITY=dev", "loopback"]),
        (["--auth", "oauth"], {"MCP_IDENTITY": "keys"}, ["MCP_KEYS", "mcp-edge keys create"]),
        (
            ["--host", "0.0.0.0", "--auth", "oauth"],
            {**KEYS, "MCP_SECRET_KEYS": STRONG, "MCP_IDENTITY": "keys"},
            ["MCP_AUTH=oauth", "MCP_PUBLIC_URL"],
        ),
        (
            ["--host", "0.0.0.0", "--auth", "oauth"],
            {**KEYS, "MCP_SECRET_KEYS": STRONG, "MCP_IDENTITY": "keys", "MCP_PUBLIC_URL": "http://mcp.example.com"},
            ["not https", "TLS"],
        ),
        (
            ["--auth", "keys"],
            {**KEYS, "MCP_SECRET_KEYS": STRONG, "MCP_PUBLIC_URL": "http://mcp.example.com"},
            ["not https", "TLS", "--insecure"],
        ),
        ([], {"MCP_CLIENT_ADDRESS_HEADER": "X-Forwarded-For"}, ["--auth none", "X-Forwarded-For"]),
        (["--auth", "oauth"], {"MCP_CLIENT_ADDRESS_HEADER": "X-Forwarded-For"}, ["MCP_IDENTITY=dev"]),
        (
            ["--auth", "keys"],
            {**KEYS, "MCP_SECRET_KEYS": "a" * 40, "MCP_CLIENT_ADDRESS_HEADER": "X-Forwarded-For"},
            ["repeats itself"],
        ),
        (["--auth", "keys"], {"MCP_KEYS": f"bob:{'ab' * 32}:read,alice:{'ab' * 32}"}, ["entry 2", "before it"]),
        (["--auth", "keys"], {"MCP_KEYS": '{"bob": "x", "bob": "y"}'}, ["MCP_KEYS", "same name twice"]),
        ([], {"MCP_REGISTRATION": "none, dcr"}, ["MCP_REGISTRATION"]),
        (["--workers", "2", "--store", "memory:"], {}, ["memory:", "sqlite:PATH"]),
        (["--workers", "2", "--reload"], {}, ["--reload"]),
        (["--app", "nowhere.server:create_server"], {}, ["no module nowhere"]),
        (["--app", "os:create_server"], {}, ["no function create_server"]),
        (["--app", "my_server"], {}, ["MODULE:FUNCTION"]),
        (["--store", "redis://x"], {}, ["MCP_STORE"]),
        ([], {"MCP_KEYS": "alice"}, ["mcp-edge: MCP_KEYS: entry 1 is not `name:value`\n"]),
        (["--port", "http"], {}, ["a port is a number from 0 to 65535"]),
        (["--port", "65536"], {}, ["a port is a number from 0 to 65535"]),
        (["--workers", "many"], {}, ["at least one process"]),
        (["--app", "my_server"], {"MCP_SECRET_KEY": STRONG}, ["MCP_SECRET_KEY is no option"]),
    ],
)
def test_serve_refuses_with_exit_code_2_and_says_what_to_do(
    tmp_path: Path, options: list[str], env: dict[str, str], says: list[str]
) -> None:
    done = mcp_edge("serve", "--port", "0", *options, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    for words in says:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_refused_before_anything_is_announced(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = mcp_edge("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Cannot listen on 127.0.0.1" in done.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("10.0.0.1", "http://10.0.0.1:8000"),
    ],
)
def test_whoever_listens_on_every_interface_is_told_an_address_that_is_answered(host: str, url: str) -> None:
    assert base_url(Settings(), host, 8000) == url
    assert base_url(Settings(public_url="https://mcp.example.com"), host, 8000) == "https://mcp.example.com"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_authentication_and_no_secret(host: str) -> None:
    assert is_loopback(host)
    refuse_unsafe(Settings(), host, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example", "127.0.0.1.example", "0"])
def test_every_other_host_is_exposed(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigurationError):
        refuse_unsafe(Settings.from_env({"MCP_SECRET_KEYS": STRONG}), host, insecure=False)


def test_keys_and_a_good_secret_may_be_exposed() -> None:
    settings = Settings.from_env({**KEYS, "MCP_AUTH": "keys", "MCP_SECRET_KEYS": STRONG})
    refuse_unsafe(settings, "0.0.0.0", insecure=False)
    refuse_unsafe(settings.model_copy(update={"auth": "none"}), "0.0.0.0", insecure=True)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "x" * 31,
        "x" * 40,
        "0" * 64,
        "abc" * 20,
        "0123456789abcdef" * 4,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "CHANGE-ME-before-you-deploy-this-thing",
        "your-32-byte-signing-value-goes-here",
        "this-is-a-secret-of-my-own-making-9173",
        "insert-an-example-of-a-long-value-here",
    ],
)
def test_a_secret_that_can_be_guessed_is_weak(secret: str) -> None:
    assert weakness(secret)


def test_what_the_advice_makes_is_not_weak() -> None:
    assert not weakness(STRONG)
    assert [s for s in (secrets.token_urlsafe(32) for _ in range(500)) if weakness(s)] == []
    assert [s for s in (secrets.token_hex(32) for _ in range(500)) if weakness(s)] == []


def _secret(store: str) -> str:
    (secret,) = with_secret(Settings(store=store)).secret_keys
    return secret.get_secret_value()


def test_a_secret_is_made_once_beside_the_database_for_its_owner_only(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'new' / 'mcp.db'}"
    first = _secret(store)
    assert first == _secret(store)
    assert len(first.encode()) >= 32
    assert stat.S_IMODE((tmp_path / "new" / "mcp.db.secret").stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "new") == ["mcp.db.secret"]


def test_a_configured_secret_is_kept_and_no_file_is_made(tmp_path: Path) -> None:
    settings = Settings.from_env({"MCP_SECRET_KEYS": "own", "MCP_STORE": f"sqlite:{tmp_path / 'mcp.db'}"})
    assert with_secret(settings) == settings
    assert os.listdir(tmp_path) == []


def test_a_memory_store_gets_another_secret_each_time() -> None:
    assert _secret("memory:") != _secret("memory:")


def test_a_secret_file_that_was_cut_short_is_refused_rather_than_trusted(tmp_path: Path) -> None:
    (tmp_path / "mcp.db.secret").write_text("abc\n")
    (tmp_path / "mcp.db.secret").chmod(0o600)
    with pytest.raises(ConfigurationError, match="less than 32 bytes"):
        _secret(f"sqlite:{tmp_path / 'mcp.db'}")


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be read or made"):
        _secret(f"sqlite:{tmp_path / 'file' / 'mcp.db'}")


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    """Each waits at a gate (the end of its input), so that all of them look for the file together."""
    code = (
        "import sys; from mcp_edge.hosts.exposure import with_secret; from mcp_edge.settings import Settings\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        f"print(with_secret(Settings(store={f'sqlite:{tmp_path}/mcp.db'!r})).secret_keys[0].get_secret_value())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=clean_env(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    answers = {process.communicate(timeout=30)[0].strip() for process in started}
    assert answers == {(tmp_path / "mcp.db.secret").read_text().strip()}


def test_the_secret_is_beside_a_database_in_the_home_folder_that_only_its_owner_enters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with_secret(Settings(store="sqlite:~/data/mcp.db"))
    assert (tmp_path / "home" / "data" / "mcp.db.secret").is_file()
    assert list((tmp_path / "work").iterdir()) == []
    assert (tmp_path / "home" / "data").stat().st_mode & 0o777 == 0o700
