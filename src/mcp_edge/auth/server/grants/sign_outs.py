"""When a user last signed out everywhere: a mark, by which what is written at that moment knows that it came too late.

Signing out ends what is on the user's lists. What another request is writing just then may not be on them yet: it reads
the mark again once it is on its list, and what began before the mark is taken back before anybody has seen it. The mark
is random, so no clock decides. Nothing that is read for each call reads it.
"""

from __future__ import annotations

import json

from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash

_FORMAT = 1
_UNDER_WAY_S = 86400
"""More than any request takes."""


class SignOuts:
    """See the module."""

    def __init__(self, platform: Platform) -> None:
        self._store = platform.atomics
        # As long as any browser may be signed in, or a request be under way, that began before it.
        self._ttl_s = platform.settings.sign_in_ttl_s + _UNDER_WAY_S

    async def record(self, principal: str) -> None:
        """The user signs out everywhere, now. It comes before the lists are read."""
        key, value = _key(principal), json.dumps({"v": _FORMAT, "mark": mint()}).encode()
        # Until this very mark was the latest: another's may be older than what it has to end.
        while not await upsert(self._store, key, lambda _: value, ttl_s=self._ttl_s):
            pass

    async def latest(self, principal: str) -> str:
        """The mark of the last time; empty when that is too long ago to matter."""
        entry = await self._store.get(_key(principal))
        return "" if entry is None else json.loads(entry.value)["mark"]

    async def since(self, principal: str, mark: str) -> bool:
        """Whether the user has signed out everywhere since `mark` was the latest."""
        return await self.latest(principal) not in ("", mark)


def _key(principal: str) -> str:
    return f"signed-out/{short_hash(principal)}"
