"""What tools import stays what it is: no submodule takes its name, and no signature changes unseen."""

from __future__ import annotations

import json
import subprocess
import sys

import mcp_edge
from tests.public_names import COMMAND, SNAPSHOT, text
from tests.support.sources import SOURCES, modules

PLANNED = {"costs", "search_tools", "task", "testing"}
"""Public names that a later release has."""
COMMANDS = {"mcp_edge.hosts.cli.__main__"}
"""A module that runs when it is imported."""
IMPORT_ALL = """
import importlib, json, sys
from types import ModuleType
from unittest.mock import MagicMock

for name in ("js", "pyodide", "pyodide.ffi", "workers"):  # modules of the Workers runtime alone
    sys.modules[name] = MagicMock()
import mcp_edge
before = {name: getattr(mcp_edge, name) for name in mcp_edge.__all__}
for name in sys.argv[1:]:
    importlib.import_module(name)
found = {name: getattr(mcp_edge, name) for name in mcp_edge.__all__}
lost = [name for name, value in found.items() if value is not before[name] or not callable(value)]
print(json.dumps({"lost": lost, "imported": sorted(n for n in sys.modules if n.startswith("mcp_edge"))}))
"""


def test_importing_every_submodule_leaves_each_public_name_what_it_was() -> None:
    """`import mcp_edge.state` would put the module where the function `mcp_edge.state` was."""
    names = {file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in modules()}
    names = {name for name in names if name.startswith("mcp_edge")} - COMMANDS

    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *sorted(names)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"lost": [], "imported": sorted(names)}


def test_nothing_at_the_top_has_a_public_name_or_one_that_will_be() -> None:
    top = {path.stem for path in (SOURCES / "mcp_edge").iterdir()}

    assert top & (set(mcp_edge.__all__) | PLANNED) == set()


def test_no_public_signature_has_changed_unseen() -> None:
    assert text() == SNAPSHOT.read_text(encoding="utf-8"), f"{COMMAND} writes it anew"
