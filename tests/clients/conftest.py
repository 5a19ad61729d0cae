"""One fleet for all clients: two processes on one SQLite file behind the strict round robin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import fleet as support
from tests.support.fleet import Fleet

APP = "tests.clients.server:create_server"


@pytest.fixture
def anyio_backend() -> str:
    """The clients are tried on asyncio, as they are used."""
    return "asyncio"


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two processes, indistinguishable from one."""
    store = tmp_path_factory.mktemp("store") / "clients.db"
    with support.Fleet(app=APP, count=2, store=f"sqlite:{store}") as running:
        yield running
