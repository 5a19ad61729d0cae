"""Memory and latency as sessions pile up: this project on an SQLite file, the SDK with its sessions in the process."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.process import python
from benchmarks.report import Part, Row, Target, at_most, progress

NOISE_BYTES = 64
"""Growth per session that counts as none: bounded caches that fill, pages of the allocator. A session is far larger."""


def run(*, quick: bool) -> Part:
    """Each contender in a process of its own."""
    plans = {
        "sdk-stateful": (10 if quick else 40, [1, 1000] if quick else [1, 1000, 10_000]),
        "ours-handshake-keys-sqlite": (10 if quick else 90, [1, 1000] if quick else [1, 1000, 10_000, 100_000]),
    }
    rows: list[Row] = []
    data: dict[str, list[dict[str, Any]]] = {}
    for name, (seconds, sizes) in plans.items():
        progress(f"growth: {CONTENDERS[name].label}, up to {sizes[-1]:,} sessions in at most {seconds} s")
        label = CONTENDERS[name].label
        try:
            data[name] = python(["-m", "benchmarks.grow", name, str(seconds), *map(str, sizes)])
        except RuntimeError as e:
            rows.append(Row("growth", label, "not run", str(e)))
            continue
        for at in data[name]:
            per = _bytes_per_session(data[name][0], at)
            memory = f"RSS {at['rss_kib'] / 1024:,.1f} MiB" + (f", {per:,.0f} B per session" if per is not None else "")
            against = f"{at['ratio']:.2f} x one session alone; calls from all: {at['ratio_spread']:.2f} x"
            what = f"{label}, {at['sessions']:,} session{'s' * (at['sessions'] > 1)}"
            rows.append(Row("growth", what, f"p50 {at['p50_us']:.0f} µs", memory, against))
    return Part(rows, _targets(data.get("ours-handshake-keys-sqlite", []), quick=quick), data)


def _bytes_per_session(first: dict[str, Any], last: dict[str, Any]) -> float | None:
    more = last["sessions"] - first["sessions"]
    return (last["rss_kib"] - first["rss_kib"]) * 1024 / more if more else None


def _targets(found: list[dict[str, Any]], *, quick: bool) -> list[Target]:
    if quick:  # too few sessions to say
        return []
    per = ratio = spread = None
    if found and found[-1]["sessions"] == 100_000:
        per = _bytes_per_session(found[1], found[-1])  # from 1,000 on: before that, caches fill
        ratio, spread = found[-1]["ratio"], found[-1]["ratio_spread"]
    return [
        at_most("RSS growth per session, 1,000 to 100,000 (0 but for noise)", per, NOISE_BYTES, "B", digits=0),
        at_most("p50 at 100,000 sessions, one of them calling", ratio, 1.1, "x p50 at 1"),
        at_most("p50 at 100,000 sessions, all of them calling", spread, 1.1, "x p50 at 1"),
    ]
