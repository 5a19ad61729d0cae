"""A mapping that may hold secrets. It knows nothing of where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class HiddenValues(Mapping[str, str]):
    """A read-only mapping whose `repr` has the names and no value, so that no log line and no traceback shows one."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<values of {', '.join(sorted(self._values)) or 'nothing'}>"
