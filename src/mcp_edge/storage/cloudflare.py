"""The stores of a Worker, from the bindings that it has. For wrappers: nothing else may know an engine."""

from __future__ import annotations

import time
from collections.abc import Callable

from mcp_edge.errors import ConfigurationError
from mcp_edge.storage.cached import cached
from mcp_edge.storage.cloudflare_d1 import open_d1
from mcp_edge.storage.cloudflare_d1_binding import D1Binding
from mcp_edge.storage.cloudflare_kv import KVNamespace, KVRecords
from mcp_edge.storage.memory import MemoryAtomics
from mcp_edge.storage.ports import AtomicStore, RecordStore

NEEDS_D1 = ("stream/", "answer/", "inbox/", "outbox/", "running/", "grant/")
"""Prefixes of what one isolate writes for another to read: nothing but D1 can hold it."""


class DowngradedAtomics(MemoryAtomics):
    """`AtomicStore` of one isolate, for a Worker without D1. Its guarantee ends at the isolate.

    KV cannot stand in: it orders no writes, and answers for a minute that a key is not there which another isolate has
    written. So leases, quotas, cancellations and changes count within an isolate, and what is under `NEEDS_D1` is
    refused. A host with this store says `Platform(shared=False)`, so that nobody is promised any of it.
    """

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        """As the port says, within this isolate.

        Raises:
            ConfigurationError: the key belongs to what needs D1.
        """
        if key.startswith(NEEDS_D1):
            raise ConfigurationError(f"`{key.partition('/')[0]}` records need the D1 binding DB: see docs/storage.md")
        return await super().create(key, value, nonce=nonce, ttl_s=ttl_s)


def open_cloudflare(
    kv: KVNamespace | None, d1: D1Binding | None, clock: Callable[[], float] = time.time
) -> tuple[RecordStore, AtomicStore]:
    """Both ports on the bindings that JavaScript gives, not on the SDK's wrappers of them.

    With both, KV answers what every request reads, and D1 holds everything. D1 alone does the same, a little slower and
    never late. With KV alone the atomic store is a `DowngradedAtomics`.

    Raises:
        ConfigurationError: there is neither.
    """
    if d1 is not None:
        records, atomics = open_d1(d1, clock)
        return records if kv is None else cached(KVRecords(kv, clock), truth=records, clock=clock), atomics
    if kv is None:
        raise ConfigurationError("a Worker needs the D1 binding DB, the KV binding KV, or best both: see wrangler.toml")
    return KVRecords(kv, clock), DowngradedAtomics(clock)
