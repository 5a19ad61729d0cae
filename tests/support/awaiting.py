"""Stores in which each operation waits, before it is carried out and after, as over a network: others come between."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from mcp_edge.storage.ports import AtomicStore, RecordStore


class Awaiting:
    """Either port, behind a network that carries messages in any order."""

    def __init__(self, store: RecordStore | AtomicStore, seed: int = 0) -> None:
        self._store = store
        self._random = random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._store, name)

        async def carried(*args: Any, **named: Any) -> Any:
            await self._on_its_way()
            done = await work(*args, **named)
            await self._on_its_way()
            return done

        return carried

    async def _on_its_way(self) -> None:
        for _ in range(self._random.randrange(1, 8)):
            await asyncio.sleep(0)
