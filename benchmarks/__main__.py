"""`python -m benchmarks [--quick] [--only PART,…] [--json]`: one table, then the targets. `--help` names the parts.

It is a report, not a test: it ends with status 0 whatever it finds.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

from benchmarks import report

PARTS = {
    "cpu": "benchmarks.cpu",
    "auth": "benchmarks.authorization",
    "http": "benchmarks.throughput",
    "import": "benchmarks.imports",
    "growth": "benchmarks.growth",
    "worst": "benchmarks.worst",
    "lambda": "benchmarks.invocations",
    "worker": "benchmarks.worker",
}
RESULTS = Path(__file__).parent / "results" / "latest.json"


def main() -> None:
    """Run the chosen parts, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What a call costs, here and elsewhere.")
    parser.add_argument("--quick", action="store_true", help="about a minute instead of four and a half; coarser")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {', '.join(PARTS)}")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")
    options = parser.parse_args()
    chosen = [name.strip() for name in options.only.split(",") if name.strip()]
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")

    found: dict[str, report.Part] = {}
    for name in chosen:
        report.progress(f"{name} …")
        try:
            found[name] = import_module(PARTS[name]).run(quick=options.quick)
        except Exception as e:
            found[name] = report.Part([report.Row(name, "the whole part", "failed", repr(e)[:200])], [], {})

    everything = report.as_json(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(everything, indent=1))
        return
    print(" · ".join(f"{name} {value}" for name, value in report.environment().items()), end="\n\n")
    print(report.markdown([row for part in found.values() for row in part.rows]), end="\n\n")
    print(report.verdicts([target for part in found.values() for target in part.targets]))


if __name__ == "__main__":
    main()
