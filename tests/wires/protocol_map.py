"""`docs/protocol.md`: each clause of the specification with the tests that hold it up, read from their marks.

`python -m tests.wires.protocol_map` writes the file; a test compares it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.root import ROOT
from tests.wires.clauses import CLAUSES

PAGE = ROOT / "docs" / "protocol.md"

WIRES = {
    "any": "Every wire",
    "modern": "Streamable HTTP, revision 2026-07-28",
    "handshake": "Streamable HTTP, revisions 2025-03-26 to 2025-11-25",
    "sse": "HTTP+SSE, revision 2024-11-05",
}

_HEAD = """\
# The protocol, clause by clause

What the specification asks of a server on each wire, and the tests that hold it up. A clause without a test would say
`none`, and `make test` would fail. Each clause also has patches, in `tests/clauses`, that break it in the code:
`make test-deep` applies one at a time, and fails where no test of the clause notices. The official conformance suite
runs besides. This page is generated from the tests' marks: `python -m tests.wires.protocol_map`.
"""


def marks() -> Iterator[tuple[str, Path, str]]:
    """(clause, file, test) for each mark, wherever the test is."""
    folders = [folder for folder in (ROOT / "tests").iterdir() if folder.is_dir() and folder.name != "node_modules"]
    for path in sorted(path for folder in folders for path in folder.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if "@clause(" in source else ():
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "clause":
                    yield from ((ast.literal_eval(name), path, node.name) for name in mark.args)


def page() -> str:
    """The page as it must be."""
    tests: dict[str, list[str]] = {}
    for clause, file, test in marks():
        tests.setdefault(clause, []).append(f"[`{test}`](../{file.relative_to(ROOT)})")
    parts = [_HEAD]
    for wire, title in WIRES.items():
        rows = [f"## {title}\n", "| clause | tests |", "|---|---|"]
        for name, words in CLAUSES.items():
            if name.partition(".")[0] == wire:
                rows.append(f"| {words} | {'<br>'.join(tests.get(name, ['none']))} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
