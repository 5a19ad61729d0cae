"""The official suite passes through streaming environments that take turns and are frozen between invocations."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.suite import run_suite
from tests.conformance.test_official_suite import assert_all_passed

from .conftest import Lambda

APP = "tests.support.conformance_server:create_server"


@pytest.mark.parametrize(("version", "scenarios", "checks"), [("2025-11-25", 33, 84), ("2026-07-28", 40, 152)])
def test_alternating_environments_pass_every_check(once: Lambda, version: str, scenarios: int, checks: int) -> None:
    # A held stream keeps its environment busy to the deadline, even when its client has left. Enough environments are
    # ready, because the suite gives a cold start no time.
    front = once.deploy("streamed", app=APP, count=8, timeout_s=15, tracebacks=True)
    assert_all_passed(run_suite(f"{front.url}/mcp", version), version, scenarios, checks)
    assert min(count for _, count in Counter(front.served).most_common(4)) > 5
    assert not front.errors
