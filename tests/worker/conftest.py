"""Isolates that several tests share, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.isolates import Isolates


@pytest.fixture
def anyio_backend() -> str:
    """The clients are tried on asyncio, as they are used."""
    return "asyncio"


@pytest.fixture(scope="session")
def conformance() -> Iterator[Isolates]:
    """Two isolates with the fixture server of the official suite."""
    with Isolates(app="tests.conformance_server:create_server") as running:
        yield running
