"""Cancellations: stored by whichever instance takes one, seen by the one that runs the request. They know no wire.

Nobody knows here whether such a request runs anywhere. So a cancellation that says nothing new is not written, and
those of one principal are counted.
"""

from __future__ import annotations

from typing import Any

from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol import jsonrpc
from mcp_edge.records.keys import CANCEL, CANCELLED
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash

KEPT_S = 60
_EARLY_S = 5
"""A cancellation may arrive this much before its request does; an older one was meant for another request."""
MOST_PER_WINDOW = 600
"""Cancellations of one principal in each `_WINDOW_S` seconds that are written; where it may have more calls under way,
twice as many as those."""
_WINDOW_S = 60


async def cancel(platform: Platform, session: str, principal: str, params: dict[str, Any] | None) -> None:
    """Store what `notifications/cancelled` says; one that names no request changes nothing.

    Raises:
        TooMany: the principal cancels more than anybody has under way.
    """
    request_id = jsonrpc.member(params, "requestId")
    if not jsonrpc.is_id(request_id):
        return
    store, key = platform.atomics, _key(session, request_id)
    entry, now = await store.get(key), platform.clock()
    if entry is not None and 0 <= now - float(entry.value) < _EARLY_S:
        return  # it counts for whatever has begun by now
    await _count(platform, principal)
    # In the place of an older one, which may have been meant for another request of the same id.
    await upsert(store, key, lambda _: repr(now).encode(), ttl_s=KEPT_S)  # else others say the same right now


async def _count(platform: Platform, principal: str) -> None:
    window, seconds = divmod(platform.clock(), _WINDOW_S)
    most = max(MOST_PER_WINDOW, 2 * platform.settings.max_streams)
    again = {"retry-after": str(int(_WINDOW_S - seconds) + 1)}

    def one_more(value: bytes | None) -> bytes:
        count = int(value or 0) + 1
        if count > most:
            raise TooMany(f"Too many cancellations (at most {most} a minute).", headers=again)
        return b"%d" % count

    key = f"{CANCELLED}{short_hash(principal)}/{int(window)}"
    if not await upsert(platform.atomics, key, one_more, ttl_s=2 * _WINDOW_S):
        raise TooMany("Too many cancellations at once.", headers={"retry-after": "1"})


async def was_cancelled(platform: Platform, session: str, request_id: object, since: float) -> bool:
    """Whether the client has cancelled the request that began at `since` (epoch seconds)."""
    entry = await platform.atomics.get(_key(session, request_id))
    return entry is not None and float(entry.value) >= since - _EARLY_S


def _key(session: str, request_id: object) -> str:
    return f"{CANCEL}{session}/{short_hash(jsonrpc.encode(request_id).decode())}"
