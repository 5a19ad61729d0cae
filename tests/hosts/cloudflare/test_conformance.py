"""The official suite passes on two isolates that take strict turns and share nothing but KV and D1."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.suite import run_suite
from tests.conformance.test_official_suite import assert_all_passed
from tests.hosts.cloudflare.isolates import Isolates


@pytest.mark.parametrize(("version", "scenarios", "checks"), [("2025-11-25", 33, 84), ("2026-07-28", 40, 152)])
def test_two_isolates_in_strict_turns_pass_every_check(
    conformance: Isolates, version: str, scenarios: int, checks: int
) -> None:
    assert_all_passed(run_suite(f"{conformance.url}/mcp", version), version, scenarios, checks)
    assert conformance.proxy is not None
    first, second = Counter(conformance.proxy.served).values()
    assert abs(first - second) <= 1
