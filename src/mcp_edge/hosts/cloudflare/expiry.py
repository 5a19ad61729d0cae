"""Removing what has expired from a Worker's stores, as much at once as one invocation may. It knows no engine."""

from __future__ import annotations

from mcp_edge.hosts.cloudflare import budget
from mcp_edge.storage.ports import AtomicStore, RecordStore

_LIMIT = 1000


async def sweep(spent: budget.Budget, *stores: RecordStore | AtomicStore) -> None:
    """Sweep `stores` until nothing expired is left, or the budget is used up: the next invocation goes on."""
    budget.begin()
    left = list(stores)
    while left and not spent.draining:
        left = [store for store in left if await store.sweep(limit=_LIMIT) >= _LIMIT]
