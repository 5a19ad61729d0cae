"""Calls per second and latency over HTTP: uvicorn with h11, one worker, each contender in its own process."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from statistics import mean

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.load import CONNECTIONS, Load, load, tool, warm
from benchmarks.process import free_port, post_to, serving
from benchmarks.report import Part, Row, progress
from benchmarks.wire import Request, check, prepare

NAMES = ("floor", "sdk-stateless", "sdk-modern", "fastmcp", "ours-handshake-keys-sqlite", "ours-modern-keys-sqlite")


def _start(stack: ExitStack, contender: Contender) -> tuple[int, Request]:
    port = free_port()
    stack.enter_context(serving(["-m", "benchmarks.host", contender.name, str(port)], port))
    post = post_to(port)
    request = asyncio.run(prepare(contender.era, post, contender.headers))
    check(asyncio.run(post(request)))
    return port, request


def run(*, quick: bool) -> Part:
    """Two passes over all contenders, the second in the opposite order."""
    seconds, calls = (1, 1000) if quick else (3, 4000)
    ready: dict[str, tuple[int, Request]] = {}
    loads: dict[str, list[Load]] = {}
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        for name in NAMES:
            try:
                ready[name] = _start(stack, CONTENDERS[name])
            except Exception as e:
                failed[name] = f"{type(e).__name__}: {str(e)[:120]}"
        progress(f"http: {len(ready)} servers, {tool()}, {CONNECTIONS} connections")
        for name, (port, request) in ready.items():
            warm(port, request)
            loads[name] = []
        for order in (list(ready), list(reversed(ready))):
            for name in order:
                loads[name].append(load(*ready[name], seconds=seconds, calls=calls))
    return _report(loads, failed)


def _report(loads: dict[str, list[Load]], failed: dict[str, str]) -> Part:
    rows = [Row("http", "load generator", tool(), f"{CONNECTIONS} connections")]
    data: dict[str, dict[str, float]] = {}
    floor = mean(one.per_s for one in loads["floor"]) if "floor" in loads else 0.0
    for name in NAMES:
        label = CONTENDERS[name].label
        if name in failed:
            rows.append(Row("http", label, "not run", failed[name]))
            continue
        passes = loads[name]
        per_s = mean(one.per_s for one in passes)
        p50, p99 = mean(one.p50_ms for one in passes), mean(one.p99_ms for one in passes)
        errors = sum(one.failed for one in passes)
        data[name] = {"per_s": per_s, "p50_ms": p50, "p99_ms": p99, "failed": errors}
        spread = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms" + (f", {errors} failed" if errors else "")
        against = f"{per_s / floor:.2f} x floor" if floor else ""
        rows.append(Row("http", label, f"{per_s:,.0f} calls/s", spread, against))
    return Part(rows, [], data)
