"""CPU time per `tools/call`, in one process without sockets, all contenders taking turns.

Each round gives every contender one short block; its cost is set against the floor's block of the same round, so
that what slows the machine for a while slows both. Collected garbage counts: the collector runs in every block.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median, quantiles
from time import monotonic, process_time_ns

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.report import Part, Row, Target, at_least, at_most, progress
from benchmarks.wire import ASGIApp, Exchange, Request, check, poster, prepare, scope_of

CALLS = 100
"""Calls in a block, the same for everybody: so everybody's calls are as warm or as cold as the others'."""

Block = Callable[[], Awaitable[int]]


@dataclass(slots=True)
class Lane:
    """A contender while it is measured."""

    contender: Contender
    block: Block
    costs_us: list[float]


def block_of(app: ASGIApp, request: Request) -> Block:
    """A function that makes `CALLS` calls and returns the CPU nanoseconds they took."""
    template = scope_of(request)
    body = request.body

    async def block() -> int:
        began = process_time_ns()
        for _ in range(CALLS):
            exchange = Exchange(body)
            await app(template.copy(), exchange.receive, exchange.send)
        for _ in range(4):  # what a call leaves to other tasks belongs to it
            await asyncio.sleep(0)
        return process_time_ns() - began

    return block


async def _open(stack: AsyncExitStack, contender: Contender) -> Lane:
    app = await stack.enter_async_context(contender.build())
    post = poster(app)
    request = await prepare(contender.era, post, contender.headers)
    check(await post(request))
    block = block_of(app, request)
    for _ in range(5):  # warm
        await block()
    return Lane(contender, block, [])


async def _measure(seconds: float, lanes: dict[str, Lane], failed: dict[str, str]) -> int:
    """Fill the lanes. The number of rounds."""
    async with AsyncExitStack() as stack:
        for contender in CONTENDERS.values():
            try:
                lanes[contender.name] = await _open(stack, contender)
            except Exception as e:
                failed[contender.name] = f"{type(e).__name__}: {str(e)[:120]}"
        gc.collect()
        gc.freeze()  # nobody pays for walking through what the others loaded
        progress(f"cpu: {len(lanes)} contenders taking turns for {seconds:.0f} s")
        deadline, rounds, order = monotonic() + seconds, 0, list(lanes.values())
        while monotonic() < deadline or rounds < 8:
            for lane in order:
                gc.collect()
                lane.costs_us.append(await lane.block() / CALLS / 1000)
            order.reverse()  # so that nobody always follows the same neighbour
            rounds += 1
        gc.unfreeze()
    return rounds


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    low, _, high = quantiles(values, n=4)
    return low, median(values), high


def run(*, quick: bool) -> Part:
    """Measure every contender that can be started here."""
    lanes: dict[str, Lane] = {}
    failed: dict[str, str] = {}
    rounds = asyncio.run(_measure(6 if quick else 60, lanes, failed))
    base = lanes["floor"].costs_us
    rows: list[Row] = []
    data: dict[str, dict[str, float]] = {}
    for name, contender in CONTENDERS.items():
        if name in failed:
            rows.append(Row("cpu", contender.label, "not run", failed[name]))
            continue
        costs = lanes[name].costs_us
        low, mid, high = _quartiles([cost / against for cost, against in zip(costs, base, strict=True)])
        cost_low, cost, cost_high = _quartiles(costs)
        data[name] = {"cpu_us": cost, "ratio": mid, "ratio_low": low, "ratio_high": high, "rounds": rounds}
        against = "1" if name == "floor" else f"{mid:.2f} x floor ({low:.2f} - {high:.2f})"
        rows.append(Row("cpu", contender.label, f"{cost:.1f} µs", f"{cost_low:.1f} - {cost_high:.1f}", against))
    return Part(rows, _targets(data), data)


def _targets(data: dict[str, dict[str, float]]) -> list[Target]:
    def ratio(name: str) -> float | None:
        return data[name]["ratio"] if name in data else None

    def times_less(peer: str) -> float | None:
        mine, theirs = ratio("ours-handshake-keys-memory"), ratio(peer)
        return None if mine is None or theirs is None else theirs / mine

    return [
        at_most("CPU of a handshake call, key, memory", ratio("ours-handshake-keys-memory"), 2.4, "x floor"),
        at_most("CPU of a modern call, key, memory", ratio("ours-modern-keys-memory"), 2.6, "x floor"),
        at_least("CPU less than the SDK's stateless mode", times_less("sdk-stateless"), 9, "x"),
        at_least("CPU less than FastMCP", times_less("fastmcp"), 14, "x"),
    ]
