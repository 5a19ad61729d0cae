"""How a waiting request looks into the store again and again: soon at first, then less often, never in step."""

from __future__ import annotations

import random

import anyio

from mcp_edge.platform import Platform

_GROWTH = 1.3
"""By this factor each pause is longer than the one before."""


class Backoff:
    """The pauses between the looks of one waiting request: they grow, with jitter, up to the host's longest."""

    def __init__(self, platform: Platform, most_s: float | None = None) -> None:
        """`most_s` is the longest pause in seconds, where it is not the host's."""
        self._first = platform.poll_intervals.first_s
        self._most = most_s or platform.poll_intervals.most_s
        self._next = 0.0

    async def next(self) -> None:
        """Wait for the next look. The first look waits for nothing."""
        if self._next:
            await anyio.sleep(self._next * random.uniform(0.75, 1.25))  # noqa: S311 # jitter is no secret
            self._next = min(self._next * _GROWTH, self._most)
        else:
            self._next = self._first

    def reset(self) -> None:
        """Something has happened: the next pause is the shortest again."""
        self._next = self._first
