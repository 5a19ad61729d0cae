"""What every store test shares: one event loop library and a clock that moves only when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.storage.clock import Clock
from tests.storage.miniflare import Bridge, bridge, miniflare

pytest.register_assert_rewrite("tests.storage.record_contract", "tests.storage.atomic_contract")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def miniflare_url() -> Iterator[str]:
    with miniflare() as url:
        yield url


@pytest.fixture
async def engine(miniflare_url: str) -> AsyncIterator[Bridge]:
    """Miniflare's KV and D1, empty."""
    async with bridge(miniflare_url) as connected:
        yield connected
