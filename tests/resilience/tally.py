"""What the clients of one run saw: counts, the longest wait, and everything that should not have happened."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Filled by the clients while they run, read by the test afterwards."""

    counts: Counter[str] = field(default_factory=Counter[str])
    """What happened, by name: `requests`, `calls`, `cuts`, `resumed`, `repeated`, `interrupted` and so on."""
    problems: list[str] = field(default_factory=list[str])
    longest_wait_s: float = 0
    """The longest time that a client waited for the next message, cuts and resumptions included."""
    longest_of: str = ""
    longest_call_s: float = 0
    """The longest time from a call's first attempt to its result, the client's own delays included."""
    finals: Counter[str] = field(default_factory=Counter[str])
    """Final responses by request id."""
    repeatable: set[str] = field(default_factory=set[str])
    """Tokens of attempts whose tool may run again by itself."""
    answered: set[str] = field(default_factory=set[str])
    """Tokens of attempts that ended with a result."""

    def waited(self, since: float, what: str) -> float:
        """Note a wait that ends now; the time from which the next one counts."""
        now = time.monotonic()
        if now - since > self.longest_wait_s:
            self.longest_wait_s, self.longest_of = now - since, what
        return now

    def report(self, title: str) -> str:
        """The numbers in one line."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        waits = f"longest wait {self.longest_wait_s:.2f} s ({self.longest_of}), a call {self.longest_call_s:.2f} s"
        return f"{title}: {counts}; {waits}"
