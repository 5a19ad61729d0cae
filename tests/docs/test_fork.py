"""A fork deletes the example, as the README says, and the tests of the template pass without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES
from tests.support.root import ROOT

NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".data", ".*_cache", ".coverage*", ".hypothesis", ".aws-sam", ".wrangler",
    "node_modules", "build", "dist", "__pycache__",
)  # fmt: skip
KEPT = {"__init__.py", "server.py", "conftest.py", "deployment.py"}
FOLLOWERS = (
    "tests/docs/test_readme.py",
    "tests/hosts/aws_lambda/test_transcript.py",
    "tests/hosts/cloudflare/test_transcript.py",
    "tests/support/transcript.py",
)
"""What outside the fork's own folders knows the example."""
SERVER = """
from mcp.server import MCPServer
from mcp_edge.settings import Settings


def create_server(settings: Settings) -> MCPServer:
    del settings
    return MCPServer("fork")
"""


def fork(root: Path) -> None:
    """A copy of the repository at `root` whose server has nothing of the example."""
    shutil.copytree(ROOT, root, ignore=NOT_COPIED)
    own = [*(root / "src" / "my_server").rglob("*.py"), *(root / "tests" / "my_server").rglob("*.py")]
    for path in [path for path in own if path.name not in KEPT] + [root / name for name in FOLLOWERS]:
        path.unlink(missing_ok=True)  # this test goes on in a fork, which has none of them
    (root / "src" / "my_server" / "server.py").write_text(SERVER)


def test_the_readme_names_what_goes_with_the_example() -> None:
    readme = PAGES[0].read_text(encoding="utf-8")
    assert [name for name in FOLLOWERS if f"`{name}`" not in readme] == []


@pytest.mark.timeout(300)  # it starts pytest three times, beside others
def test_every_other_test_is_collected_and_those_that_met_the_example_pass(tmp_path: Path) -> None:
    root = tmp_path / "fork"
    fork(root)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}

    def pytest_run(*arguments: str) -> None:
        command = [sys.executable, "-m", "pytest", *arguments]
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    pytest_run("--collect-only")
    pytest_run("tests/docs/test_pages.py", "-k", "not every_command")
    pytest_run("tests/auth/server/test_authorization.py", "tests/tools/test_upstream.py")
