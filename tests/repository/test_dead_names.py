"""No name of a module in `src/` is there for nothing: linters look at unused imports and variables, not at these."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.root import ROOT
from tests.support.sources import SOURCES, modules

READERS = ("src", "tests", "benchmarks", "lambda", "worker", "requirements")
EXCEPTIONS = {
    f"mcp_edge.hosts.cli.{command}.run": "the command line finds it by the command's name"
    for command in ("keys", "serve", "settings")
}
"""Names that nothing here uses, as `module.name`, each with who does."""


def test_every_name_of_a_module_is_used() -> None:
    unused = {name for file in sorted(modules()) for name in _unused(SOURCES / file)}

    assert unused - EXCEPTIONS.keys() == set()
    assert EXCEPTIONS.keys() - unused == set(), "an exception that is needed no more"


def _unused(file: Path) -> Iterator[str]:
    """The names at the top of `file` that neither it nor another file reads."""
    module = _dotted(file)
    tree = _parsed(file)
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    elsewhere = _read_from().get(module, set())
    for name in _defined(tree):
        if not name.startswith("__") and name not in own | elsewhere and f"{module}:{name}" not in _texts():
            yield f"{module}.{name}"


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case _:
                pass


@cache
def _read_from() -> dict[str, set[str]]:
    """For each module the names that other files import from it, or look up in it."""
    found: dict[str, set[str]] = {}
    for folder in READERS:
        for file in (ROOT / folder).rglob("*.py"):
            if "node_modules" in file.parts:
                continue
            tree = _parsed(file)
            looked_up = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            for node in ast.walk(tree):
                match node:
                    case ast.ImportFrom(module=str(module), names=names):
                        for alias in names:
                            found.setdefault(module, set()).add(alias.name)
                            found.setdefault(f"{module}.{alias.name}", set()).update(looked_up)
                    case ast.Import(names=names):
                        for alias in names:
                            found.setdefault(alias.name, set()).update(looked_up)
                    case _:
                        pass
    return found


@cache
def _texts() -> str:
    """Where a name may stand as `module:name`: the docs, what the installer reads, and the sources themselves."""
    files = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "pyproject.toml", *SOURCES.rglob("*.py")]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _dotted(file: Path) -> str:
    return ".".join(file.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
