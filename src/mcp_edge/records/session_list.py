"""The list of each principal's sessions, oldest first, by which the quota knows what has to give way.

An entry is a key without a value: the millisecond of the session's creation, and the hash of its id. It knows no app.
"""

from __future__ import annotations

import json

from mcp_edge.platform import Platform
from mcp_edge.records import keys
from mcp_edge.text.hashing import short_hash

_OLDEST = 16
"""Of so many oldest sessions the one that was left gives way."""
_SEEN = 64
"""So many sessions beyond the most are seen at once."""


class SessionList:
    """The lists of all principals."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._records = platform.records

    async def after_all_others(self, principal: str, now: float) -> float:
        """The time of creation, in epoch seconds, of a session that is opened `now`.

        It is a little later than `now` where the list says so: its order is that of the openings, whatever the
        instances' clocks say.
        """
        listed = await self._records.list(_prefix(principal), limit=self._platform.settings.max_sessions + _SEEN)
        newest_ms = int(listed[-1].rpartition("/")[2].partition("-")[0]) if listed else 0
        return max(now, (newest_ms + 1.5) / 1000)  # the half keeps rounding from taking it back

    async def too_many(self, principal: str) -> list[str]:
        """The entries that have to give way. There is one at most, unless other sessions are opened just now."""
        most = self._platform.settings.max_sessions
        listed = await self._records.list(_prefix(principal), limit=most + _SEEN)
        excess = len(listed) - most
        return [await self._least_used(listed[:_OLDEST])] if excess == 1 else listed[: max(0, excess)]

    async def _least_used(self, entries: list[str]) -> str:
        """Among the oldest, the session renewed longest ago: one in use is renewed, one that was left is not."""
        expiry: dict[str, float] = {}
        for each in entries:
            raw = await self._records.get(f"{keys.SESSION}{session_of(each)}")
            expiry[each] = 0 if raw is None else json.loads(raw)["expires"]
        return min(expiry, key=lambda each: expiry[each])


def entry(principal: str, created: float, session: str) -> str:
    """The key of a session on its principal's list. `created` is in epoch seconds, `session` the hash of its id."""
    return f"{_prefix(principal)}{int(created * 1000):014d}-{session}"


def session_of(entry: str) -> str:
    """The session that an entry lists: the hash of its id."""
    return entry.rpartition("-")[2]


def _prefix(principal: str) -> str:
    return f"{keys.SESSIONS}{short_hash(principal)}/"
