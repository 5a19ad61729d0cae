"""Entries numbered one after the other under a prefix: where they end. Nothing is known of what is in them."""

from __future__ import annotations

from collections.abc import Callable

from mcp_edge.storage.ports import AtomicStore


async def last_number(store: AtomicStore, key: Callable[[int], str], number: int) -> int:
    """The number of the last entry, or `number` where no entry follows it. `key` makes the key of a number.

    A search by halves: it reads few entries, however many there are.
    """
    prefix = key(0).rpartition("/")[0] + "/"

    async def at_or_after(place: int) -> int | None:
        found = await store.read(prefix, after=key(place - 1), limit=1)
        return int(found[0].key[len(prefix) :]) if found else None

    last, step = number, 1
    while (found := await at_or_after(last + step)) is not None:
        last, step = found, step * 2
    beyond = last + step
    while beyond - last > 1:
        middle = (last + beyond) // 2
        found = await at_or_after(middle)
        last, beyond = (last, middle) if found is None else (found, beyond)
    return last
