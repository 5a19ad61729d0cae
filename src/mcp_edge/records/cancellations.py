"""Cancellations: one instance takes the notification and stores it, the one that runs the request finds it.

Whether such a request runs anywhere is unknown here. So a cancellation that says nothing new is not written, and the
cancellations of each principal are counted. Cancellations know no wire.
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
"""Seconds for which a cancellation is stored."""
_EARLY_S = 5
"""A cancellation may arrive so many seconds before its request. An older one was meant for another request."""
MOST_PER_WINDOW = 600
"""Cancellations of one principal that are written in each window of `_WINDOW_S` seconds. The limit is twice
`MCP_MAX_STREAMS` where that is more."""
_WINDOW_S = 60


async def cancel(platform: Platform, session: str, principal: str, params: dict[str, Any] | None) -> None:
    """Store what `notifications/cancelled` says (MCP 2025-11-25, cancellation). Without a request id nothing happens.

    `session` is the hash of the session's id, `params` are those of the notification.

    Raises:
        TooMany: the principal cancels more requests than anybody has under way.
        StoreUnavailable: the cancellation may not be stored.
    """
    request_id = jsonrpc.member(params, "requestId")
    if not jsonrpc.is_id(request_id):
        return
    store, key = platform.atomics, _key(session, request_id)
    entry, now = await store.get(key), platform.clock()
    if entry is not None and 0 <= now - float(entry.value) < _EARLY_S:
        return  # the one that is stored counts for every request that has begun by now
    await _count(platform, principal)
    # An older one is replaced: it may have been meant for another request of the same id.
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
