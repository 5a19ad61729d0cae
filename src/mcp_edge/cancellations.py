"""Cancellations: stored by whichever instance takes one, seen by the one that runs the request. They know no wire."""

from __future__ import annotations

from typing import Any

from mcp_edge import jsonrpc
from mcp_edge.platform import Platform
from mcp_edge.tokens import mint, short_hash

KEPT_S = 60
_EARLY_S = 5
"""A cancellation may arrive this much before its request does; an older one was meant for another request."""


async def cancel(platform: Platform, session: str, params: dict[str, Any] | None) -> None:
    """Store what `notifications/cancelled` says; one that names no request changes nothing."""
    request_id = jsonrpc.member(params, "requestId")
    if jsonrpc.is_id(request_id):
        store, key = platform.atomics, _key(session, request_id)
        now, nonce = repr(platform.clock()).encode(), mint()
        if not await store.create(key, now, nonce=nonce, ttl_s=KEPT_S):
            await store.delete(key)  # an older one, which may have been meant for another request of the same id
            await store.create(key, now, nonce=nonce, ttl_s=KEPT_S)


async def was_cancelled(platform: Platform, session: str, request_id: object, since: float) -> bool:
    """Whether the client has cancelled the request that began at `since` (epoch seconds)."""
    entry = await platform.atomics.get(_key(session, request_id))
    return entry is not None and float(entry.value) >= since - _EARLY_S


def _key(session: str, request_id: object) -> str:
    return f"cancel/{session}/{short_hash(jsonrpc.encode(request_id).decode())}"
