"""One contender while its sessions pile up, alone in its process: `python -m benchmarks.grow NAME SECONDS SIZE…`.

Prints JSON, a list of one object per size. The calls of a size take turns with those of a second instance that has
one session, so that their ratio holds on a busy machine. The process keeps a bounded sample of sessions, never all.
The sessions belong to a thousand users, because a user's quota is far below what is opened here.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
import sys
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter_ns
from typing import Any

from benchmarks.contenders import CONTENDERS, USERS, bearer
from benchmarks.wire import ASGIApp, Exchange, Request, check, open_session, poster, prepare, scope_of

SAMPLE = 500
ROUNDS = 40
CALLS = 50


def rss_kib() -> int:
    """Resident memory now; where the system does not tell, the most it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024


class Crowd:
    """Sessions of one instance, of which a fair sample of fixed size is remembered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.count = 0
        self.known: list[dict[str, str]] = []
        self._random = random.Random(1)

    async def grow(self, size: int, deadline: float) -> None:
        """Open sessions until there are `size`, or time is up."""
        post = poster(self.app)
        while self.count < size and monotonic() < deadline:
            self._remember(await open_session(post, bearer(self.count % USERS)))
            await asyncio.sleep(0)  # a server's loop turns between requests, and drops the timers that were cancelled

    def _remember(self, session: dict[str, str]) -> None:
        self.count += 1
        if len(self.known) < SAMPLE:
            self.known.append(session)
        elif (place := self._random.randrange(self.count)) < SAMPLE:
            self.known[place] = session

    async def block(self, request: Request, *, spread: bool) -> list[int]:
        """Nanoseconds of each of some calls, from anyone (`spread`) or always the same session."""
        took: list[int] = []
        for _ in range(CALLS):
            session = self._random.choice(self.known) if spread else self.known[0]
            scope = scope_of(Request(session, request.body))
            exchange = Exchange(request.body)
            began = perf_counter_ns()
            await self.app(scope, exchange.receive, exchange.send)
            took.append(perf_counter_ns() - began)
            if exchange.status != 200:
                raise RuntimeError(f"a session was lost: status {exchange.status} at {self.count} sessions")
            await asyncio.sleep(0)
        return took


async def _at_size(crowd: Crowd, alone: Crowd, request: Request) -> dict[str, Any]:
    gc.collect()
    rss = rss_kib()
    same: list[int] = []
    spread: list[int] = []
    ratios: dict[str, list[float]] = {"same": [], "spread": []}
    for _ in range(ROUNDS):
        base = median(await alone.block(request, spread=False))
        one = await crowd.block(request, spread=False)
        any_ = await crowd.block(request, spread=True)
        ratios["same"].append(median(one) / base)
        ratios["spread"].append(median(any_) / base)
        same += one
        spread += any_
    return {
        "sessions": crowd.count,
        "rss_kib": rss,
        "p50_us": median(same) / 1000,
        "p50_spread_us": median(spread) / 1000,
        "ratio": median(ratios["same"]),
        "ratio_spread": median(ratios["spread"]),
    }


async def main(name: str, seconds: float, sizes: list[int]) -> list[dict[str, Any]]:
    """Measure at each size that can be reached in time."""
    contender = CONTENDERS[name]
    found: list[dict[str, Any]] = []
    async with contender.build() as crowded, contender.build() as lonely:
        crowd, alone = Crowd(crowded), Crowd(lonely)
        request = await prepare("handshake", poster(lonely), contender.headers)
        check(await poster(lonely)(request))
        deadline = monotonic() + seconds
        await alone.grow(1, deadline)
        await crowd.grow(1, deadline)
        for _ in range(20):  # warm
            await alone.block(request, spread=False)
            await crowd.block(request, spread=False)
        for size in sizes:
            began, before = monotonic(), crowd.count
            await crowd.grow(size, deadline)
            took, opened = monotonic() - began, crowd.count - before
            found.append(await _at_size(crowd, alone, request))
            found[-1]["open_us"] = took / opened * 1e6 if opened else 0.0
            if crowd.count < size:
                break
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], float(sys.argv[2]), [int(size) for size in sys.argv[3:]]))))
