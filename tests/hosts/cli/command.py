"""Runs `mcp-edge` in a process of its own, from a folder of its own, with no `MCP_` name but the given ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PREFIX = [sys.executable, "-m", "mcp_edge.hosts.cli"]
DEADLINE_S = 30


def clean_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without its `MCP_` names, and `env` over it."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("MCP_")}, **(env or {})}


def mcp_edge(
    *args: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*PREFIX, *args],
        cwd=cwd,
        env=clean_env(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
