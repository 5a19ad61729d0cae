"""What a supervisor and its workers agree on about stopping. It imports no server."""

from __future__ import annotations

import signal

HURRY = signal.SIGUSR1
"""From the supervisor: stop listening now, and finish what is in flight."""


def grace_s(drain_s: float) -> float:
    """Seconds that calls in flight have after the end of listening, before they are cancelled."""
    return max(2.0, 2 * drain_s)
