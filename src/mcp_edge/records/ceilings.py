"""Ceilings: how much of something there may be, where several instances write at the same time.

A writer who counts first and writes then has counted too little as soon as another writer does the same. So a sum is
an `upsert`; a place is a key that only one writer can create; and what can be neither is counted again after the write.
Ceilings know no setting and no principal.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from mcp_edge.errors import EdgeError
from mcp_edge.protocol.signing import mint
from mcp_edge.storage.ports import AtomicStore

_MOST_ROUNDS = 16
"""Lost races after which a taker gives up."""
_AT_ONCE, _MOST_LOOKS = 4, 8
"""So many records are removed after each look, and so many looks does one writer take."""


class Full(EdgeError):
    """Every place is taken."""


class NumberedPlace:
    """One of the numbered places under a prefix. Take the place, renew it within its life, give it back.

    Takers of one `name` share one place: the newest taker holds it.

    A place is no `Lease`, for two reasons. Its value is a name that several takers may share, so it does not tell whose
    write was last. And it is free as soon as its record has expired, so a version may be another taker's: a place is
    looked at before each write.
    """

    def __init__(self, store: AtomicStore, prefix: str, *, name: str = "", ttl_s: float) -> None:
        self._store = store
        self._prefix = prefix
        self._name = (name or mint()).encode()
        self._ttl_s = ttl_s
        self._key = ""
        self._version = 0
        self._most = 0

    async def take(self, most: int) -> None:
        """Take one of the `most` places, or the place that the name has already.

        Raises:
            Full: no place is free.
        """
        self._most = most
        for _ in range(_MOST_ROUNDS):
            taken = await self._store.read(self._prefix, limit=most)
            own = next((entry for entry in taken if entry.value == self._name), None)
            if own is not None:
                self._key = own.key
                if await self._swap(own.version):
                    return
            elif len(taken) >= most:
                break
            elif await self._create(self._free({entry.key for entry in taken}, most)):
                return
        raise Full

    async def renew(self) -> None:
        """Begin the place's life anew. Where the place is lost, take another one.

        A place is lost when another taker of its name has come, or when its life is over.

        Raises:
            Full: the place is lost, and no other is free.
        """
        if not (await self._is_ours() and await self._swap(self._version)):
            await self.take(self._most)

    async def release(self, *, for_all: bool = False) -> None:
        """Free the place, unless another taker has it by now. With `for_all`, free it whoever of its name has it: what
        the name stands for has ended."""
        if await self._is_ours(whoever=for_all):
            await self._store.delete(self._key)
        self._key = ""

    async def _is_ours(self, *, whoever: bool = False) -> bool:
        """Whether nobody has taken the place since; with `whoever`, nobody of another name. The version alone does not
        say it: it begins anew with a taker."""
        entry = await self._store.get(self._key) if self._key else None
        return entry is not None and entry.value == self._name and (whoever or entry.version == self._version)

    def _free(self, taken: set[str], most: int) -> str:
        """A free place, by chance: who looks for one at the same time should try another."""
        first = random.randrange(most)  # noqa: S311 # nobody gains by guessing it
        keys = (f"{self._prefix}{(first + n) % most:05d}" for n in range(most))
        return next(key for key in keys if key not in taken)

    async def _create(self, key: str) -> bool:
        self._key, self._version = key, 1
        return await self._store.create(key, self._name, nonce=mint(), ttl_s=self._ttl_s)

    async def _swap(self, version: int) -> bool:
        new = await self._store.swap(self._key, self._name, version=version, nonce=mint(), ttl_s=self._ttl_s)
        self._version = new or 0
        return new is not None


async def may_stay(
    own: str, look: Callable[[], Awaitable[list[str]]], remove: Callable[[str], Awaitable[object]]
) -> bool:
    """Count again after the record `own` was written, and `remove` what is too much by then.

    `look` names the keys that are too much, in an order on which all writers agree. So not every writer gives way: each
    takes back its own record, and the others remove a few of what is left, by chance.

    Returns:
        False when `own` is too much: the caller has to remove it.
    """
    for _ in range(_MOST_LOOKS):
        too_many = await look()
        if own in too_many:
            return False
        for key in random.sample(too_many, min(len(too_many), _AT_ONCE)):
            await remove(key)
        if len(too_many) <= _AT_ONCE:
            break
    return True
