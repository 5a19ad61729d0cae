"""Read, change, write: one record that several writers change at the same time. No writer's change is lost.

It knows no key, no setting and no principal.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import anyio

from mcp_edge.protocol.signing import mint
from mcp_edge.storage.ports import AtomicStore

_MOST_RACES = 16
"""Lost races after which a writer gives up: so many others write the same record right now."""
_APART_S = 0.01
"""Seconds, for each race lost, within which the next one begins."""


async def upsert(
    store: AtomicStore, key: str, change: Callable[[bytes | None], bytes], *, ttl_s: float | None = None
) -> bool:
    """Replace the value under `key` by what `change` makes of it. The record's life of `ttl_s` seconds begins anew.

    `change` gets the present value, or None where there is no record. It is called again when another writer came
    first, so it has no effect but its result. An exception that `change` raises ends the upsert; nothing is written.

    Returns:
        True when the new value was stored. False when other writers came first every time: nothing was written.

    Raises:
        StoreUnavailable: the store cannot be reached. The write may have been carried out although its answer was lost.
    """
    for lost in range(_MOST_RACES):
        if lost:
            await anyio.sleep(lost * _APART_S * random.random())  # noqa: S311 # nobody gains by guessing it
        entry = await store.get(key)
        value, nonce = change(None if entry is None else entry.value), mint()
        if entry is None:
            stored = await store.create(key, value, nonce=nonce, ttl_s=ttl_s)
        else:
            stored = await store.swap(key, value, version=entry.version, nonce=nonce, ttl_s=ttl_s) is not None
        if stored:
            return True
    return False
