"""Isolates that several tests share, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.cloudflare.isolates import Isolates


@pytest.fixture(scope="session")
def conformance() -> Iterator[Isolates]:
    """Two isolates with the fixture server of the official suite."""
    with Isolates(app="tests.support.conformance_server:create_server") as running:
        yield running
