"""`mcp-edge settings` shows every option and no secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.cli.settings import markdown, table
from mcp_edge.settings import Settings
from tests.hosts.cli.command import mcp_edge


def test_the_table_has_a_row_with_a_description_for_every_option() -> None:
    rows = table({}).splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["MCP_" + name.upper() for name in Settings.model_fields]
    for row, field in zip(rows, Settings.model_fields.values(), strict=True):
        assert field.description
        assert row.endswith(field.description)


def test_the_markdown_has_a_row_for_every_option_and_three_cells_in_each() -> None:
    rows = markdown().splitlines()
    assert [row.split("`")[1] for row in rows[2:]] == ["MCP_" + name.upper() for name in Settings.model_fields]
    assert {row.replace("\\|", "").count("|") for row in rows} == {4}


def test_a_value_from_the_environment_is_shown_beside_its_default() -> None:
    row = next(r for r in table({"MCP_DRAIN_S": "7.5"}).splitlines() if r.startswith("MCP_DRAIN_S"))
    assert row.split()[1:3] == ["7.5", "5"]


def test_secrets_and_hashes_are_masked_while_their_owners_are_named() -> None:
    digest = "ab" * 32
    text = table(
        {
            "MCP_SECRET_KEYS": "first-of-the-signing-values, second-of-them",
            "MCP_UPSTREAM_TOKEN": "shared-upstream",
            "MCP_UPSTREAM_TOKENS": "alice:own-upstream",
            "MCP_KEYS": f"bob:{digest}",
            "MCP_CLIENTS": f'[{{"client_id": "desk", "client_secret_sha256": "{digest}"}}]',
        }
    )
    for hidden in ("signing", "second-of", "shared-upstream", "own-upstream", digest):
        assert hidden not in text
    for shown in ("(2 set)", "alice:(set)", "bob:(set)", "desk"):
        assert shown in text


def test_a_misspelt_option_is_named(tmp_path: Path) -> None:
    done = mcp_edge("settings", cwd=tmp_path, env={"MCP_DRAIN": "7", "MCP_QUIET_S": "1"})
    assert (done.returncode, done.stderr) == (0, "MCP_DRAIN is set here, and is no option.\n")


def test_a_value_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MCP_DRAIN_S"):
        table({"MCP_DRAIN_S": "soon"})
    done = mcp_edge("settings", cwd=tmp_path, env={"MCP_DRAIN_S": "soon"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "MCP_DRAIN_S" in done.stderr
    assert "Traceback" not in done.stderr


def test_printing_settings_loads_neither_the_sdk_nor_a_server(tmp_path: Path) -> None:
    code = (
        "import sys; from mcp_edge.hosts.cli.main import main; main(['settings']); "
        "print([m for m in ('mcp', 'uvicorn', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
