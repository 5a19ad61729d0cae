"""A clock that moves only when told to."""

from __future__ import annotations

import time


class Clock:
    """Epoch seconds. It starts at the real time, so that an engine's own expiry does not come before ours."""

    def __init__(self, now: float | None = None) -> None:
        self.now = float(int(time.time())) if now is None else now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
