"""The tables of stored keys in two pages: `python -m tests.docs.keys` writes them; a test compares them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mcp_edge.records.keys import AUTHORIZATION, CORE, Row
from tests.support.root import ROOT

TABLES = {ROOT / "docs" / "architecture.md": CORE, ROOT / "docs" / "storage-schema.md": AUTHORIZATION}
_BEGIN = "<!-- keys: written by `python -m tests.docs.keys` -->\n"
_END = "<!-- end of keys -->"


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table."""
    head = "| key | store | what it holds | life |\n|---|---|---|---|"
    lines = [f"| {', '.join(f'`{key}`' for key in r.keys)} | {r.store} | {r.holds} | {r.life} |" for r in rows]
    return "\n".join([head, *lines])


def page(path: Path) -> str:
    """The page as it must be."""
    head, begin, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    return f"{head}{begin}\n{markdown(TABLES[path])}\n\n{end}{tail}"


if __name__ == "__main__":
    for each in TABLES:
        each.write_text(page(each), encoding="utf-8")
