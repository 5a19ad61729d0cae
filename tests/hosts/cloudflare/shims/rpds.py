"""Stands in for `rpds-py`, which PyPI has not for Pyodide: its three persistent collections, copied at each change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any


class HashTrieMap(Mapping[Any, Any]):
    """An immutable mapping."""

    def __init__(self, value: Any = (), **kwds: Any) -> None:
        self._items: dict[Any, Any] = dict(value, **kwds)

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    @classmethod
    def convert(cls, value: Any) -> HashTrieMap:
        return value if isinstance(value, cls) else cls(value)

    def insert(self, key: Any, value: Any) -> HashTrieMap:
        return HashTrieMap({**self._items, key: value})

    def remove(self, key: Any) -> HashTrieMap:
        left = dict(self._items)
        del left[key]
        return HashTrieMap(left)

    def discard(self, key: Any) -> HashTrieMap:
        return self.remove(key) if key in self._items else self

    def update(self, *others: Any, **kwds: Any) -> HashTrieMap:
        merged = dict(self._items)
        for other in others:
            merged.update(other)
        return HashTrieMap({**merged, **kwds})


class HashTrieSet(Set[Any]):
    """An immutable set."""

    def __init__(self, value: Any = ()) -> None:
        self._items = frozenset(value)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(self._items)

    def insert(self, item: Any) -> HashTrieSet:
        return HashTrieSet(self._items | {item})

    def update(self, *others: Any) -> HashTrieSet:
        return HashTrieSet(self._items.union(*others))


class List:
    """An immutable list that grows at its front."""

    def __init__(self, *args: Any) -> None:
        self._items: tuple[Any, ...] = tuple(args[0] if len(args) == 1 else args)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, List) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    @property
    def first(self) -> Any:
        return self._items[0]

    @property
    def rest(self) -> List:
        return List(self._items[1:])

    def drop_first(self) -> List:
        return List(self._items[1:])

    def push_front(self, item: Any) -> List:
        return List((item, *self._items))

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._items)
