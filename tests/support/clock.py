"""A clock that moves when it is told to, and by itself once it runs."""

from __future__ import annotations

import time


class Clock:
    """Epoch seconds. It starts at the real time, so that an engine's own expiry does not come before ours."""

    def __init__(self, now: float | None = None) -> None:
        self.now = float(int(time.time())) if now is None else now
        self._started: float | None = None

    def __call__(self) -> float:
        return self.now if self._started is None else self.now + time.monotonic() - self._started

    def start(self) -> None:
        """Move from now on as time does, besides what it is advanced."""
        self._started = time.monotonic()

    def advance(self, seconds: float) -> None:
        self.now += seconds
