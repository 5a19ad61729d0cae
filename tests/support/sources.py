"""The repository's modules as files: which there are, and which of them a module needs."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.root import ROOT

SOURCES = ROOT / "src"
PACKAGES = ("mcp_edge", "my_server")


def modules() -> set[str]:
    """Every module's path below `src/`."""
    return {str(file.relative_to(SOURCES)) for file in SOURCES.rglob("*.py")}


def without(patterns: Iterable[str]) -> set[str]:
    """The modules that no pattern (of pathlib, in `mcp_edge`) names. Each pattern names some."""
    named = [{str(file.relative_to(SOURCES)) for file in (SOURCES / "mcp_edge").glob(pattern)} for pattern in patterns]
    assert all(named)
    return modules().difference(*named)


def lacking(folder: Path, files: Iterable[str]) -> list[str]:
    """What the modules `files` of `folder` import of ours, at any time, and what is not among them."""
    there, everything = set(files), modules()
    return [
        f"{file} imports {name}"
        for file in sorted(there)
        for name in imported(folder / file)
        if _module(name, everything) not in there
    ]


def imported(file: Path) -> Iterator[str]:
    """The modules of ours, or names in them, that `file` imports, in functions too; not those for annotations alone."""
    for node in _run(ast.parse(file.read_text())):
        match node:
            case ast.Import(names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0, names=names):
                found = [f"{module}.{alias.name}" for alias in names]
            case _:
                found = []
        yield from (name for name in found if name.partition(".")[0] in PACKAGES)


def _module(name: str, everything: set[str]) -> str:
    """The file of the module of that name, or of the one that has a member of that name."""
    path = name.replace(".", "/")
    owner = path.rpartition("/")[0]
    candidates = (f"{path}.py", f"{path}/__init__.py", f"{owner}.py", f"{owner}/__init__.py")
    return next((file for file in candidates if file in everything), name)


def _run(scope: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _run(node)
