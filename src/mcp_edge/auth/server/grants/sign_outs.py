"""Marks of sign-outs everywhere, so that a sign-in or grant that is being written meanwhile ends as well.

Signing out ends what is on the user's lists. A concurrent request may not be listed yet, so it reads the mark again
after it has listed itself: if the mark is new, the request takes back what it wrote before anybody has seen it. The
mark is random, so no clock decides. No call to a tool reads it. It knows no browser and no grant.
"""

from __future__ import annotations

import json

from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash

_FORMAT = 1
_UNDER_WAY_S = 86400
"""Seconds; longer than any request takes."""


class SignOuts:
    """The latest mark of each user."""

    def __init__(self, platform: Platform) -> None:
        self._store = platform.atomics
        # As long as any browser may be signed in, or a request be under way, that began before it.
        self._ttl_s = platform.settings.sign_in_ttl_s + _UNDER_WAY_S

    async def record(self, principal: str) -> None:
        """Set a new mark: the user signs out everywhere, now. Call it before the user's lists are read."""
        key, value = _key(principal), json.dumps({"v": _FORMAT, "mark": mint()}).encode()
        # Until this very mark was the latest: another's may be older than what it has to end.
        while not await upsert(self._store, key, lambda _: value, ttl_s=self._ttl_s):
            pass

    async def latest(self, principal: str) -> str:
        """The mark of the latest sign-out; empty for none, or for one too long ago to matter."""
        entry = await self._store.get(_key(principal))
        return "" if entry is None else json.loads(entry.value)["mark"]

    async def since(self, principal: str, mark: str) -> bool:
        """Whether the user has signed out everywhere after `mark` was the latest."""
        return await self.latest(principal) not in ("", mark)


def _key(principal: str) -> str:
    return f"signed-out/{short_hash(principal)}"
