"""The servers under test, started once for all versions."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support.fleet import Fleet


@pytest.fixture(scope="session")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fleet]:
    """A single server, without a proxy."""
    with Fleet(count=1, store=f"sqlite:{tmp_path_factory.mktemp('one')}/mcp.db") as fleet:
        yield fleet


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fleet]:
    """Two servers on one SQLite file, behind the strict round robin."""
    with Fleet(count=2, store=f"sqlite:{tmp_path_factory.mktemp('two')}/mcp.db") as fleet:
        yield fleet
