"""The page that says what each module is for: `python -m tests.docs.rooms` writes it; a test compares it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.fleet import ROOT

PAGE = ROOT / "docs" / "modules.md"
PACKAGE = ROOT / "src" / "mcp_edge"
_HEAD = """# Modules

Where a line of code goes. A package is a layer, or a part of one; [architecture.md](architecture.md) says who may
import whom. The lines are the modules' own first sentences. `python -m tests.docs.rooms` writes this page.
"""


def page() -> str:
    """The page as it must be."""
    return _HEAD + "".join(_sections(PACKAGE))


def _sections(folder: Path) -> Iterator[str]:
    name = folder.relative_to(PACKAGE.parent).as_posix()
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    rows = "".join(f"| [`{path.stem}`](../{path.relative_to(ROOT)}) | {_sentence(path)} |\n" for path in modules)
    table = f"\n| module | what it is |\n|---|---|\n{rows}" if rows else ""
    yield f"\n## `{name}`\n\n{_sentence(folder / '__init__.py')}\n{table}"
    for below in sorted(path for path in folder.iterdir() if (path / "__init__.py").is_file()):
        yield from _sections(below)


def _sentence(module: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    told = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(told.partition("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
