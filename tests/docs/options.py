"""The table of options in `docs/configuration.md`: `python -m tests.docs.options` writes it; a test compares it."""

from __future__ import annotations

from mcp_edge.hosts.cli.settings import markdown
from tests.support.root import ROOT

PAGE = ROOT / "docs" / "configuration.md"
_BEGIN = "<!-- options: written by `python -m tests.docs.options` -->\n"
_END = "<!-- end of options -->"


def page() -> str:
    """The page as it must be."""
    head, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    return f"{head}{begin}\n{markdown()}\n\n{end}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
