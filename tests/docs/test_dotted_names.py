"""Every dotted name and path of this repository's code that stands in a text resolves, in any kind of file.

A module that is moved takes its imports with it: the type checker sees to that. Nobody sees to a dotted name in a
test's patch, in a script that a test starts, in a table of late imports, in a build's list of folders, or in the docs.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.test_fork import FOLLOWERS
from tests.support.root import ROOT

ROOTS = {"mcp_edge": ROOT / "src/mcp_edge", "my_server": ROOT / "src/my_server", "tests": ROOT / "tests"}
DOTTED = re.compile(
    r"(?<![\w./@-])(mcp_edge|my_server|tests)((?:\.[A-Za-z_]\w*)+)(?::([A-Za-z_]\w*))?(?![\w/-])(?!\(\)\.)"
)
PATH = re.compile(r"(?<![\w/-])(?:(?:\.\./)?src/)?(mcp_edge(?:/[\w.-]+)+/?)")
TESTS_PATH = re.compile(r"(?<![\w@-]/)(?<![\w-])(tests/[\w./-]*[\w/])(?!\w*[*{])")
OF_THE_EXAMPLE = ("tests/my_server/", *FOLLOWERS)
"""What a fork deletes, renames and adds."""
SUFFIXES = {"py", "md", "toml", "txt", "json", "ts", "mjs", "cfg", "yaml", "yml", "sh", "svg", "html"}
"""What a file's name ends with, where it may look like an attribute of a package."""


def test_every_dotted_name_resolves() -> None:
    lost = [
        f"{path}: {match[0]}"
        for path, text in _texts()
        for match in DOTTED.finditer(text)
        if _is_of_python(match) and not _resolves(match[1], [*match[2][1:].split("."), *_after(match)])
    ]

    assert lost == []


def test_every_path_of_a_module_exists() -> None:
    lost = [
        f"{path}: {match[0]}"
        for path, text in _texts()
        for match in PATH.finditer(text)
        if not (ROOT / "src" / match[1].rstrip(".")).exists()
    ]

    assert lost == []


def test_every_path_of_a_test_exists() -> None:
    lost = [
        f"{path}: {match[0]}"
        for path, text in _texts()
        if path.name != "package-lock.json"  # it has paths inside other projects
        for match in TESTS_PATH.finditer(text)
        if not (ROOT / match[1]).exists() and not match[1].startswith(OF_THE_EXAMPLE)
    ]

    assert lost == []


@pytest.mark.parametrize(
    ("name", "resolves"),
    [
        ("mcp_edge.errors", True),
        ("mcp_edge.errors.BadRequest", True),
        ("mcp_edge.errors.EdgeError.no_such_member", False),
        ("mcp_edge.no_such_module", False),
        ("mcp_edge.errors.NoSuchError", False),
        ("mcp_edge.state", True),
    ],
)
def test_a_name_resolves_as_python_would_find_it(name: str, resolves: bool) -> None:
    root, *rest = name.split(".")

    assert _resolves(root, rest) is resolves


def _is_of_python(match: re.Match[str]) -> bool:
    """Whether it is no file's name, and no member of a variable that has a package's name."""
    names = match[2][1:].split(".")
    return names[-1] not in SUFFIXES and (match[1] != "tests" or len(names) > 1 or match[3] is not None)


def _after(match: re.Match[str]) -> list[str]:
    return [match[3]] if match[3] else []


def _texts() -> Iterator[tuple[Path, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        path = ROOT / name
        if not name or not path.is_file() or path == Path(__file__):
            continue
        try:
            yield Path(name), path.read_text()
        except UnicodeDecodeError:
            continue


def _resolves(root: str, names: list[str]) -> bool:
    """Whether the names lead to a package or module, and from there to what it defines."""
    at = ROOTS[root]
    while names and (at / names[0]).is_dir():
        at, names = at / names[0], names[1:]
    if names and (module := at / f"{names[0]}.py").is_file():
        at, names = module, names[1:]
    file = at / "__init__.py" if at.is_dir() else at
    if not names:
        return file.is_file() or at.is_dir()
    return file.is_file() and _defines(file, names)


def _defines(file: Path, names: list[str]) -> bool:
    members: dict[str, ast.AST] | None = _members(_parsed(file))
    for name in names:
        if members is None:
            return True  # a member of something that is no class here: only running it could tell
        if name not in members:
            return False
        found = members[name]
        members = _members(found) if isinstance(found, ast.ClassDef) else None
    return True


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def _members(scope: ast.Module | ast.ClassDef) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in _own(scope):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.setdefault(node.name, node)
            case ast.Name(ctx=ast.Store()):
                found.setdefault(node.id, node)
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    found.setdefault(alias.asname or alias.name.partition(".")[0], node)
            case _:
                pass
    if isinstance(scope, ast.ClassDef):
        for node in ast.walk(scope):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.setdefault(node.attr, node)
    return found


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope, without those of the scopes in it."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _own(node)
