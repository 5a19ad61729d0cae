"""Where a server is started decides nothing: an IDE starts it in the folder of whatever project is open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.cli.command import DEADLINE_S, clean_env
from tests.hosts.cli.test_serve import serving

COMMAND = str(Path(sys.executable).with_name("mcp-edge"))
TRAP = "import os; os.write(1, b'the folder ran')\n"
APP = """
from mcp.server.mcpserver import MCPServer

def create_server(settings):
    return MCPServer("local")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's project, with modules that are named as installed ones are."""
    for name in ("sqlite3", "httpx", "uvloop", "orjson", "my_server", "mcp_edge"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    return tmp_path


def run_in(project: Path, *options: str) -> None:
    """Start the server over stdio in that folder, as an IDE does, and let it end."""
    done = subprocess.run(
        [COMMAND, "serve", "--stdio", "--store", "sqlite:x.db", *options],
        cwd=project,
        env=clean_env(),
        input="",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_servers_own_app_needs_nothing_of_the_current_folder(project: Path) -> None:
    run_in(project)


def test_nothing_of_the_current_folder_stands_for_what_is_installed(project: Path) -> None:
    for name in ("uvloop", "orjson"):  # not installed: an app of the folder may bring it
        (project / f"{name}.py").unlink()
    (project / "local_app.py").write_text(APP)
    run_in(project, "--app", "local_app:create_server")


def test_workers_import_nothing_from_the_current_folder(project: Path) -> None:
    with serving(project, "--workers", "2", command=[COMMAND]) as (process, _):
        process.terminate()
        said, _ = process.communicate(timeout=DEADLINE_S)
    assert "the folder ran" not in said
