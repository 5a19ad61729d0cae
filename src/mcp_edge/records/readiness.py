"""Whether the store can be read. However many ask, one of them reads the store, once a second at most.

Readiness knows no HTTP and no drain: an instance that is about to stop says so without asking here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mcp_edge.errors import StoreUnavailable

FRESH_S = 1.0
"""Seconds for which an answer is kept."""
PATIENCE_S = 10.0
"""Seconds after which a read counts as lost: its host has given it up. Whoever waited then reads the store itself."""


class Readiness:
    """One process's answer, kept for `FRESH_S` seconds. A failure is kept as well."""

    def __init__(self, read: Callable[[], Awaitable[object]], clock: Callable[[], float]) -> None:
        """`read` raises `StoreUnavailable` where there is no store; `clock` gives epoch seconds."""
        self._read = read
        self._clock = clock
        self._known_at: float | None = None
        self._failure = ""
        self._reading: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def check(self) -> None:
        """Return where the store could be read within the last second.

        Raises:
            StoreUnavailable: it could not.
        """
        while not self._is_fresh():
            under_way = self._reading
            if under_way is None or under_way[0] is not asyncio.get_running_loop():  # an event belongs to one loop
                await self._find_out()
                break
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await under_way[1].wait()
            except TimeoutError:
                if self._reading is under_way:
                    self._reading = None
        if self._failure:
            raise StoreUnavailable(self._failure)

    def _is_fresh(self) -> bool:
        return self._known_at is not None and 0 <= self._clock() - self._known_at < FRESH_S

    async def _find_out(self) -> None:
        reading = self._reading = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._read()
        except StoreUnavailable as e:
            self._known_at, self._failure = self._clock(), str(e) or "the store is away"
        else:
            self._known_at, self._failure = self._clock(), ""
        finally:
            if self._reading is reading:
                self._reading = None
            reading[1].set()
