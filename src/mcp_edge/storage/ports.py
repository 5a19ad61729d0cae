"""The two storage ports. Each states what its callers may rely on; adapters add nothing to it.

Keys are text of 1 to 512 bytes (UTF-8), parts joined by "/", and neither "." nor ".."; `keys.checked` refuses any other
with ValueError where one is written or deleted, and `get` answers None to it. Values are bytes that the store never
reads. `ttl_s` is a life in seconds, None for no end. An expired record does not exist: no read, list, create or swap
sees it, whether or not the engine has removed it yet; its life is over at the very second `ttl_s` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of an `AtomicStore`: its key, its value, and the version that a `swap` must name."""

    key: str
    value: bytes
    version: int


class RecordStore(Protocol):
    """Records that are written once and read often: sessions, tokens, clients, user records.

    Guarantee: a `get` answers with a value that was put under the key, or None. Eventual consistency is enough:
    a read may miss a write of the last seconds made elsewhere, but never one made through the same object.
    Every method raises `StoreUnavailable` while the engine cannot be reached.
    """

    async def get(self, key: str) -> bytes | None:
        """The value under `key`, or None when there is none or its life is over."""
        ...

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Store `value` under `key`, in place of what was there; the life starts anew. Durable on return."""
        ...

    async def delete(self, key: str) -> None:
        """Remove `key`; nothing happens when it is not there."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        """At most `limit` live keys that start with `prefix` and are greater than `after`, in order of their bytes."""
        ...

    async def sweep(self, *, limit: int = 1000) -> int:
        """Remove at most `limit` expired records and return how many went. Correctness never depends on it."""
        ...

    async def aclose(self) -> None:
        """Release what the adapter opened. Idempotent."""
        ...


class AtomicStore(Protocol):
    """Records that several instances write at once: leases, stream logs, questions, changes, grants.

    Guarantee: linearizable per key. Of any number of parallel `create`s of one key, or `swap`s of one version,
    exactly one wins. `read` is consistent with every write that had returned before it began.
    `nonce` names the writer's attempt, one for each: a write that is repeated with the same nonce and value after its
    response was lost answers as it did the first time, as long as no other write to the key came between; once one did,
    the repeated attempt has lost. A repeated attempt may start the life anew.
    Versions count the writes since `create`. They start again at 1 after a deletion or an expiry, so a version that was
    read before it says nothing after it: what fences a writer off must outlive the writer's knowledge of it.
    Every method raises `StoreUnavailable` while the engine cannot be reached.
    """

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        """Store `value` if `key` is absent (or expired), as version 1. True when this attempt's value is there."""
        ...

    async def get(self, key: str) -> Entry | None:
        """The live record under `key`, or None."""
        ...

    async def swap(self, key: str, value: bytes, *, version: int, nonce: str, ttl_s: float | None = None) -> int | None:
        """Replace the live record that has this `version`. The new version, or None when another write came first."""
        ...

    async def delete(self, key: str) -> None:
        """Remove `key` whatever its version; nothing happens when it is not there."""
        ...

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """At most `limit` live records whose keys start with `prefix` and are greater than `after`, in key order."""
        ...

    async def sweep(self, *, limit: int = 1000) -> int:
        """Remove at most `limit` expired records and return how many went. Correctness never depends on it."""
        ...

    async def aclose(self) -> None:
        """Release what the adapter opened. Idempotent."""
        ...
