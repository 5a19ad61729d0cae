"""How a waiting request looks into the store again and again: soon at first, then less often, never in step."""

from __future__ import annotations

import random

import anyio

from mcp_edge.platform import Platform

_GROWTH = 1.3


class Pauses:
    """Growing pauses with jitter: `await pauses.next()` before each look."""

    def __init__(self, platform: Platform, most_s: float | None = None) -> None:
        self._first = platform.cadence.first
        self._most = most_s or platform.cadence.most
        self._next = 0.0

    def soon(self) -> None:
        """Something happened: look often again."""
        self._next = self._first

    def __aiter__(self) -> Pauses:
        return self

    async def __anext__(self) -> None:
        await self.next()

    async def next(self) -> None:
        """Wait, not at all the first time."""
        if self._next:
            await anyio.sleep(self._next * random.uniform(0.75, 1.25))  # noqa: S311 # jitter is no secret
            self._next = min(self._next * _GROWTH, self._most)
        else:
            self._next = self._first
