"""A KV namespace that is as late as Cloudflare's documentation allows, in front of a real one.

A write takes `SPREAD_S` to be seen, by its own location too, and whatever a location has read, a miss as well, it
answers for `CACHE_S` more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.miniflare import KV, Converted

SPREAD_S = 30
CACHE_S = 60


@dataclass
class Network:
    """The writes that are on their way: key -> what it held before, and until when that is still seen."""

    kv: KV
    clock: Callable[[], float]
    coming: dict[str, list[tuple[float, Any]]] = field(default_factory=dict[str, list[tuple[float, Any]]])

    async def write(self, key: str) -> None:
        """Note what `key` holds, before it is written."""
        self.coming.setdefault(key, []).append((self.clock() + SPREAD_S, await self.kv.get(key, "text")))

    async def read(self, key: str) -> Any:
        """What is seen of `key` anywhere."""
        late = [before for seen_at, before in self.coming.get(key, []) if seen_at > self.clock()]
        return late[0] if late else await self.kv.get(key, "text")


class Location:
    """The binding, as one of Cloudflare's locations has it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._cache: dict[str, tuple[float, Any]] = {}

    async def get(self, key: str, kind: str, /) -> Any:
        assert kind == "text"
        until, value = self._cache.get(key, (0.0, None))
        now = self._network.clock()
        if until <= now:
            value = await self._network.read(key)
            self._cache[key] = (now + CACHE_S, value)
        return value

    async def put(self, key: str, value: str, /, **options: float) -> Any:
        await self._network.write(key)
        return await self._network.kv.put(key, value, **options)

    async def delete(self, key: str, /) -> Any:
        await self._network.write(key)
        return await self._network.kv.delete(key)

    async def list(self, **options: str | int) -> Converted:
        return await self._network.kv.list(**options)
