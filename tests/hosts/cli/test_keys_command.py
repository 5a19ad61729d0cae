"""`mcp-edge keys` makes bearer keys of which only the hash is kept."""

from __future__ import annotations

import re
import shlex
from hashlib import sha256
from pathlib import Path

import pytest

from mcp_edge import User
from mcp_edge.auth.authenticator import access_keys
from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.exposure import weakness
from mcp_edge.settings import Settings
from tests.hosts.cli.command import mcp_edge


def test_a_fresh_key_comes_with_the_settings_line_that_admits_it(tmp_path: Path) -> None:
    done = mcp_edge("keys", "create", "alice", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (key,) = re.findall(r"mek_[A-Za-z0-9_-]{43}\b", done.stdout)
    (pairs,) = re.findall(r"MCP_KEYS=(\S+)", done.stdout)
    assert Settings.from_env({"MCP_KEYS": pairs}).keys == {"alice": sha256(key.encode()).hexdigest()}


def test_two_keys_of_one_name_differ(tmp_path: Path) -> None:
    first, second = (mcp_edge("keys", "create", "alice", cwd=tmp_path).stdout for _ in range(2))
    assert first != second


def test_hashing_a_key_gives_what_create_printed_for_it(tmp_path: Path) -> None:
    created = mcp_edge("keys", "create", "alice", cwd=tmp_path).stdout
    key = re.findall(r"mek_\S+", created)[0]
    hashed = mcp_edge("keys", "hash", cwd=tmp_path, stdin=key + "\n")
    assert f"MCP_KEYS=alice:{hashed.stdout.strip()}" in created


def test_a_key_for_one_server_has_another_hash_at_every_server(tmp_path: Path) -> None:
    done = mcp_edge("keys", "create", "--user", "ci", "--audience", "https://mcp.example.com/", cwd=tmp_path)
    (key,) = re.findall(r"mek_[A-Za-z0-9_-]{43}\b", done.stdout)
    here = sha256(f"https://mcp.example.com\n{key}".encode()).hexdigest()

    assert f"MCP_KEYS=ci:{here}" in done.stdout
    assert "https://mcp.example.com alone" in done.stdout
    hashed = mcp_edge("keys", "hash", "--audience", "https://mcp.example.com", cwd=tmp_path, stdin=key + "\n")
    elsewhere = mcp_edge("keys", "hash", "--audience", "https://other.example.com", cwd=tmp_path, stdin=key + "\n")
    assert hashed.stdout.strip() == here != elsewhere.stdout.strip()


def test_the_line_of_a_key_with_scopes_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    done = mcp_edge("keys", "create", "ci", "--scopes", "notes:read  organizations:read", cwd=tmp_path)
    (key,) = re.findall(r"mek_[A-Za-z0-9_-]{43}\b", done.stdout)
    [line] = [line.strip() for line in done.stdout.splitlines() if "MCP_KEYS=" in line]
    [assignment] = shlex.split(line)
    settings = Settings.from_env({"MCP_KEYS": assignment.removeprefix("MCP_KEYS=")})

    assert access_keys(settings.keys) == {
        sha256(key.encode()).digest(): User(
            "keys", "ci", name="ci", scopes=frozenset({"notes:read", "organizations:read"})
        )
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["ci", "--scopes", "a,b"], "must be words"),
        (["ci", "--scopes", ""], "must be words"),
        (["ci", "--audience", "mcp.example.com"], "public URL"),
        (["ci", "--user", "alice"], "two users"),
        ([], "1 to 64 characters"),
    ],
)
def test_what_settings_could_not_hold_is_refused(tmp_path: Path, given: list[str], said: str) -> None:
    done = mcp_edge("keys", "create", *given, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (f"ci:{'0' * 64}:", "the scopes of entry 1"),
        (f"ci:{'0' * 64}:a  b", "the scopes of entry 1"),
        (f"ci:{'0' * 64}:a\\b", "the scopes of entry 1"),
        (f"ci:{'0' * 63}:a", "SHA-256"),
        (f"ci:{'0' * 64},ci:{'1' * 64}", "entry 2 has the same name"),
    ],
)
def test_settings_refuse_a_key_that_cannot_be_meant(keys: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Settings.from_env({"MCP_KEYS": keys})
    assert said in str(refusal.value)


def test_rotating_the_secret_names_the_steps_and_how_long_to_wait(tmp_path: Path) -> None:
    first, second = (mcp_edge("keys", "rotate-secret", cwd=tmp_path).stdout for _ in range(2))

    [secret] = re.findall(r"^    (\S{43})$", first, re.MULTILINE)
    assert weakness(secret) == ""
    assert secret not in second
    assert [line[:2] for line in first.splitlines() if line[:2] in ("1.", "2.", "3.", "4.")] == ["1.", "2.", "3.", "4."]
    assert "30 days with MCP_SESSION_TTL_S=2592000" in first
    assert all(host in first for host in ("local, container", "aws secretsmanager", "wrangler secret put"))


@pytest.mark.parametrize("name", ["a:b", "a,b", "a b", "", "x" * 65])
def test_a_name_that_settings_could_not_hold_is_refused(tmp_path: Path, name: str) -> None:
    done = mcp_edge("keys", "create", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "1 to 64 characters" in done.stderr


def test_hashing_nothing_is_refused(tmp_path: Path) -> None:
    done = mcp_edge("keys", "hash", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no key" in done.stderr
