"""Every scenario and every check of the official suite pass, with one process and with two that take strict turns."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.suite import Verdicts, run_suite
from tests.support.fleet import Fleet

PASSED: dict[str, dict[str, int]] = json.loads(Path(__file__).with_name("passed_checks.json").read_text())
"""Version -> scenario -> number of checks. A check that the suite cannot make here is missing from its count."""

versions = pytest.mark.parametrize(
    ("version", "scenarios", "checks"), [("2025-06-18", 27, 56), ("2025-11-25", 33, 84), ("2026-07-28", 40, 152)]
)


def assert_all_passed(verdicts: Verdicts, version: str, scenarios: int, checks: int) -> None:
    assert not verdicts.complaints(), "\n".join(verdicts.complaints())
    passed = verdicts.passed()
    assert passed == PASSED[version], "only observed:\n" + "\n".join(verdicts.remarks())
    assert (len(passed), sum(passed.values())) == (scenarios, checks)
    assert verdicts.exit_code == 0, verdicts.output


@versions
def test_one_process_passes_every_check(one_process: Fleet, version: str, scenarios: int, checks: int) -> None:
    assert_all_passed(run_suite(f"{one_process.url}/mcp", version), version, scenarios, checks)


@versions
def test_two_processes_in_strict_turns_pass_every_check(
    two_processes: Fleet, version: str, scenarios: int, checks: int
) -> None:
    assert_all_passed(run_suite(f"{two_processes.url}/mcp", version), version, scenarios, checks)
    assert two_processes.proxy is not None
    first, second = Counter(two_processes.proxy.served).values()
    assert abs(first - second) <= 1
