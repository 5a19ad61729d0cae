"""What holds for every page: commands run, JSON parses, links lead somewhere, tables are true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs import rooms
from tests.docs.options import PAGE, page
from tests.docs.pages import PAGES, blocks, prose
from tests.docs.reader import Reader
from tests.support.root import ROOT

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_COMMANDS = {"sh", "console"}


def has_commands(path: Path) -> bool:
    """Whether a page other than the README, which has a test of its own, has something to type that can be run."""
    return path.name != "README.md" and any(b.kind in _COMMANDS and not b.why_not_run for b in blocks(path))


@pytest.mark.parametrize("path", [path for path in PAGES if has_commands(path)], ids=lambda path: path.stem)
def test_every_command_of_a_page_works(path: Path, tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        for block in blocks(path):
            if block.kind in _COMMANDS and not block.why_not_run:
                reader.follow(block)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_json_block_parses_and_every_python_block_compiles(path: Path) -> None:
    for block in blocks(path):
        if block.kind == "json":
            json.loads(block.text)
        elif block.kind == "python":
            compile(block.text, block.place, "exec")


def anchors(path: Path) -> set[str]:
    """The headings of a page as GitHub's anchors."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda path: path.stem)
def test_every_relative_link_leads_to_a_file_and_its_heading(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name} links to {link}"
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert not anchor or anchor in anchors(target), f"{path.name} links to {link}, a heading that is not there"


def test_the_readme_leads_to_every_page() -> None:
    linked = set(_LINK.findall(prose(PAGES[0])))
    assert [path.name for path in PAGES[1:] if f"docs/{path.name}" not in linked] == []


def test_the_table_of_options_is_that_of_the_settings() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it: python -m tests.docs.options"


def test_each_module_has_its_place_in_the_table_of_layers() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Layers")[2].partition("##")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| ")][1:]
    named = [name for row in rows for name in re.findall(r"`([a-z_]+/?)`", row)]
    package = (path for path in (ROOT / "src" / "mcp_edge").glob("[a-z]*") if path.suffix != ".typed")
    assert sorted(named) == sorted(
        f"{path.name}/" if path.is_dir() else path.stem for path in package if path.name != "py.typed"
    )


def test_the_page_of_modules_is_that_of_the_tree() -> None:
    assert rooms.PAGE.read_text(encoding="utf-8") == rooms.page(), "write it: python -m tests.docs.rooms"


def test_each_module_has_a_sentence_of_its_own() -> None:
    rows = [row for row in rooms.page().splitlines() if row.startswith("| [")]
    told = [row.split(" | ")[1].removesuffix(" |") for row in rows]

    assert [row for row, sentence in zip(rows, told, strict=True) if len(sentence) < 15] == []
    assert len(set(told)) == len(told)
