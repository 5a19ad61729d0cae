"""A module is read at one sitting, and a function on one screen."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median

from tests.support.fleet import ROOT

MOST_OF_A_MODULE, MOST_OF_A_FUNCTION, MEDIAN, MOST_AT_THE_TOP = 300, 40, 120, 8
LONGER = {"storage/dynamodb_client.py: call": "each failure of the service is told beside the reason for its answer"}
SOURCES = ROOT / "src" / "mcp_edge"


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_too_long_and_most_are_short() -> None:
    sizes = {str(path.relative_to(SOURCES)): lines(path) for path in SOURCES.rglob("*.py")}

    assert {name: size for name, size in sizes.items() if size > MOST_OF_A_MODULE} == {}
    assert median(sizes.values()) <= MEDIAN


def test_no_function_is_too_long() -> None:
    long = {
        f"{path.relative_to(SOURCES)}: {node.name}"
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MOST_OF_A_FUNCTION
    }

    assert long == set(LONGER)


def test_the_top_shows_the_architecture() -> None:
    assert len(list(SOURCES.glob("*.py"))) <= MOST_AT_THE_TOP
