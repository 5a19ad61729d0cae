"""The tables of stored keys are those of the code, and the code spells no key that is in neither of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_edge.records import keys
from mcp_edge.records.keys import AUTHORIZATION, CORE
from mcp_edge.settings import Settings
from mcp_edge.storage.cached import READ_BY_EVERY_REQUEST, WRITTEN_ONCE
from mcp_edge.storage.cloudflare import NEEDS_D1
from tests.docs.keys import TABLES, page
from tests.support.root import ROOT

SOURCES = ROOT / "src" / "mcp_edge"
PREFIXES = {key.partition("/")[0] + "/" for row in (*CORE, *AUTHORIZATION) for key in row.keys}
NO_KEYS = {"question/", "invocation/"}
"""Texts that look like keys: a purpose that an id is signed for, and a path of Lambda's runtime API."""
_PREFIX = re.compile(r"[a-z][a-z-]*/")


def spelled(path: Path) -> Iterator[str]:
    """What the f-strings of a module that look like keys begin with."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr) and isinstance(first := node.values[0], ast.Constant):
            found = _PREFIX.match(str(first.value))
            if found is not None:
                yield found[0]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_the_table_of_keys_is_that_of_the_code(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == page(path), "write it: python -m tests.docs.keys"


def test_no_module_spells_a_key_that_is_in_no_table() -> None:
    adapters = SOURCES / "storage"  # an engine's own keys are no keys of the ports
    modules = [path for path in SOURCES.rglob("*.py") if not path.is_relative_to(adapters)]
    found = {(str(path.relative_to(SOURCES)), prefix) for path in modules for prefix in spelled(path)}

    assert {each for each in found if each[1] not in PREFIXES | NO_KEYS} == set()
    assert {prefix for _, prefix in found} >= NO_KEYS, "what is in no module any more"


def test_the_records_take_their_prefixes_from_the_table() -> None:
    found = {prefix for path in (SOURCES / "records").rglob("*.py") for prefix in spelled(path)}
    named = {value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}

    assert found == {"question/"}
    assert named < PREFIXES


def test_each_key_of_a_table_is_written_by_some_module() -> None:
    modules = [path for path in SOURCES.rglob("*.py") if path.name != "keys.py"]
    words = {word for path in modules for word in re.findall(r"[\w-]+/?", path.read_text(encoding="utf-8"))}
    names = {value: name for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}

    assert {prefix for prefix in PREFIXES if names.get(prefix, prefix) not in words} == {"catalogue/"}
    assert "_CATALOGUE" in words  # which holds it without the slash


def test_what_an_engine_keeps_apart_is_in_the_table() -> None:
    assert {*READ_BY_EVERY_REQUEST, *WRITTEN_ONCE, *NEEDS_D1} <= PREFIXES


def test_each_option_that_says_how_long_something_lives_is_one() -> None:
    options = {f"MCP_{name.upper()}" for name in Settings.model_fields}
    named = {name for row in (*CORE, *AUTHORIZATION) for name in re.findall(r"MCP_[A-Z_]+", row.life)}

    assert named <= options
