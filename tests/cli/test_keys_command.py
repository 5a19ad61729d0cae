"""`mcp-edge keys` makes bearer keys of which only the hash is kept."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from mcp_edge.settings import Settings
from tests.cli.command import mcp_edge


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


@pytest.mark.parametrize("name", ["a:b", "a,b", "a b", "", "x" * 65])
def test_a_name_that_settings_could_not_hold_is_refused(tmp_path: Path, name: str) -> None:
    done = mcp_edge("keys", "create", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "1 to 64 characters" in done.stderr


def test_hashing_nothing_is_refused(tmp_path: Path) -> None:
    done = mcp_edge("keys", "hash", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no key" in done.stderr
