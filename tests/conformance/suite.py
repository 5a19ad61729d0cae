"""Run the official conformance suite against a URL and read its verdicts. It starts no server.

By hand, against anything that serves the fixture: `python -m tests.conformance.suite URL VERSION [SCENARIO]`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter

from tests.support.node import bin_path, node_command, node_env

BASELINE = Path(__file__).with_name("expected_failures.yaml")
TIMEOUT_S = 110


class Check(BaseModel):
    """One verdict, as the suite writes it."""

    id: str
    status: str
    """`SUCCESS`, `INFO`, `SKIPPED`, `WARNING` or `FAILURE`."""
    error: str = Field(default="", alias="errorMessage")
    details: Any = None


CHECKS = TypeAdapter(list[Check])


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The outcome of one run."""

    exit_code: int
    scenarios: dict[str, list[Check]]
    output: str

    def passed(self) -> dict[str, int]:
        """How many checks passed in each scenario."""
        return {
            name: sum(check.status == "SUCCESS" for check in checks) for name, checks in sorted(self.scenarios.items())
        }

    def complaints(self) -> list[str]:
        """What did not pass and why, scenario by scenario; empty when all did."""
        return [
            f"{name}: {check.id}: {check.status}: {check.error}\n    {json.dumps(check.details)[:2000]}"
            for name, checks in sorted(self.scenarios.items())
            for check in checks
            if check.status not in ("SUCCESS", "INFO")
        ]

    def remarks(self) -> list[str]:
        """What the suite only observed: the reason when a check was not made."""
        return [
            f"{name}: {check.id}: {json.dumps(check.details)[:300]}"
            for name, checks in sorted(self.scenarios.items())
            for check in checks
            if check.status == "INFO"
        ]


def run_suite(url: str, version: str, *, scenario: str | None = None) -> Verdicts:
    """Run every scenario of the protocol `version`, or one, against the MCP endpoint `url`.

    Raises:
        subprocess.TimeoutExpired: the suite did not end in `TIMEOUT_S` seconds.
    """
    which = ["--suite", "all"] if scenario is None else ["--scenario", scenario]
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        command = [*node_command(), bin_path("conformance"), "server", "--url", url, *which]
        done = subprocess.run(
            [*command, "--spec-version", version, "--expected-failures", str(BASELINE), "-o", folder],
            env=node_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        found = {
            _scenario(path): CHECKS.validate_json(path.read_bytes()) for path in Path(folder).glob("*/checks.json")
        }
    return Verdicts(done.returncode, found, done.stdout)


def _scenario(path: Path) -> str:
    """`server-ping-2026-01-31T10-20-30-400Z/checks.json` -> `ping`."""
    return re.sub(r"-\d{4}-\d{2}-\d{2}T[\d-]+Z$", "", path.parent.name.removeprefix("server-"))


def main() -> int:
    """Print the verdicts of one run; the exit code is the suite's."""
    verdicts = run_suite(sys.argv[1], sys.argv[2], scenario=sys.argv[3] if len(sys.argv) > 3 else None)
    print("\n".join([*verdicts.remarks(), *verdicts.complaints()]))
    print(f"{len(verdicts.scenarios)} scenarios, {sum(verdicts.passed().values())} checks passed")
    if not verdicts.scenarios:
        print(verdicts.output)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(main())
