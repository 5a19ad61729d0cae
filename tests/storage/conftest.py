"""What every store test shares: one event loop library and a clock that moves only when told to."""

from __future__ import annotations

import pytest

from tests.storage.clock import Clock

pytest.register_assert_rewrite("tests.storage.record_contract", "tests.storage.atomic_contract")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()
