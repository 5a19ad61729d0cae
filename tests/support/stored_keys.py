"""Which keys a test has stored, and whether the tables of keys know them. It works on the stores in memory."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from mcp_edge.records.keys import AUTHORIZATION, CORE, Row
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords


@contextmanager
def only_known_keys() -> Generator[None]:
    """Fail at the end where a key was written that no table describes."""
    unknown: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        for store, kind, names in ((MemoryRecords, "record", ("put",)), (MemoryAtomics, "atomic", ("create", "swap"))):
            for name in names:
                patch.setattr(store, name, _watched(getattr(store, name), kind, unknown))
        yield
    assert unknown == set(), "describe them in mcp_edge.records.keys"


def _watched(original: Any, kind: str, unknown: set[str]) -> Any:
    async def write(self: Any, key: str, *args: Any, **named: Any) -> Any:
        if not any(_looks(row).fullmatch(key) for row in _rows(kind)):
            unknown.add(f"{kind} {key}")
        return await original(self, key, *args, **named)

    return write


@cache
def _rows(kind: str) -> tuple[Row, ...]:
    return tuple(row for row in (*CORE, *AUTHORIZATION) if row.store == kind)


@cache
def _looks(row: Row) -> re.Pattern[str]:
    """What the keys of a row look like."""
    looks = [re.sub("<[^>]*>", "[^/]+", re.escape(key)).replace("…", ".+") for key in row.keys]
    return re.compile("|".join(looks), re.DOTALL)


@pytest.fixture(autouse=True)
def known_keys() -> Iterator[None]:
    """Every test of a folder that imports this stores what the tables of keys know, and nothing else."""
    with only_known_keys():
        yield
