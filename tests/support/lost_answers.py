"""A store that carries a write out and loses its answer: the writer does not know what became of it."""

from __future__ import annotations

from typing import Any

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.ports import AtomicStore


class LostAnswers:
    """An `AtomicStore` before which the answers to the next `lose` writes are lost."""

    def __init__(self, store: AtomicStore) -> None:
        self._store = store
        self.lose = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def create(self, key: str, value: bytes, **named: Any) -> bool:
        return self._answered(await self._store.create(key, value, **named))

    async def swap(self, key: str, value: bytes, **named: Any) -> int | None:
        return self._answered(await self._store.swap(key, value, **named))

    def _answered(self, answer: Any) -> Any:
        if self.lose:
            self.lose -= 1
            raise StoreUnavailable("the answer was lost")
        return answer
