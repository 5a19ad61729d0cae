"""What all tests share: one event loop library, and how many inputs hypothesis tries."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Each input goes through the whole app, so generation is a small part of the time and its speed depends on the machine:
# what hypothesis calls too slow is no fault of the strategy.
_UNHURRIED = (HealthCheck.too_slow,)
# In CI the inputs are the same in every run, so that a red run can be repeated; elsewhere each run tries new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, suppress_health_check=_UNHURRIED)
settings.register_profile("local", deadline=None, suppress_health_check=_UNHURRIED)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
