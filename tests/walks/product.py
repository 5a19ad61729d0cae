"""The product's modules and who imports whom, read from the files. It lists no module by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.root import ROOT

_SOURCES = {ROOT / "src": "mcp_edge/**/*.py", ROOT / "lambda": "*.py", ROOT / "worker": "*.py"}
"""Where imports begin, and what of it is the product."""


AWAIT = "mcp_edge.protocol.eager"
"""Awaiting, written out: it runs the coroutine that it is handed, as the interpreter does, and counts as little."""


@cache
def modules() -> dict[str, Path]:
    """Each module by the name under which it is imported."""
    return {_name(file.relative_to(folder)): file for folder, files in _SOURCES.items() for file in folder.glob(files)}


@cache
def names() -> dict[str, str]:
    """The module of each file."""
    return {str(file): name for name, file in modules().items() if name != AWAIT}


@cache
def height(module: str) -> int:
    """How many modules `module` imports, directly or not. A module is higher than what it imports."""
    found: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += imports(name)
    return len(found) - 1


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the product that `module`, if it is one, imports at runtime, wherever in its file."""
    if module not in modules():
        return frozenset()
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return frozenset(name for name in _imported(tree) if name in modules()) - {module}


def _name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue  # a name in an annotation is not a dependency
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                yield inner if inner in modules() else child.module
        else:
            yield from _imported(child)
