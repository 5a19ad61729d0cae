"""How many calls to KV, D1 and elsewhere a request may still make: Cloudflare allows a request 50 on the free plan.

A request that waits asks the store again and again, until its budget is used up. Before that it is told to end in good
order, as on a process that is about to stop: its stream closes with `retry`, and the client comes back with a new
request and a new budget.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

FREE_PLAN = 50
_RESERVE = 0.4
"""Part of the budget that is left for ending: leases, quotas, the last entry of a log."""
_LAST = 0.1


class Spent:
    """The calls that one request has made so far."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0


_spent: ContextVar[Spent | None] = ContextVar("spent", default=None)


def begin() -> None:
    """A request begins, in this context and those that come of it."""
    _spent.set(Spent())


def count() -> None:
    """One more call leaves the isolate."""
    spent = _spent.get()
    if spent is not None:
        spent.calls += 1


class Budget:
    """The `Drain` of whichever request asks: no isolate stops, but a request does whose budget is nearly used up."""

    def __init__(self, calls: int) -> None:
        self._most = calls * (1 - _RESERVE)
        self._last = calls * (1 - _LAST)

    @property
    def draining(self) -> bool:
        """Whether the request should close its stream."""
        spent = _spent.get()
        return spent is not None and spent.calls >= self._most

    @property
    def expired(self) -> bool:
        """Whether what still waits should be answered with an error."""
        spent = _spent.get()
        return spent is not None and spent.calls >= self._last


class Counted:
    """A binding whose calls are counted: those named by `methods`."""

    def __init__(self, binding: Any, *methods: str) -> None:
        for name in methods:
            setattr(self, name, _counting(getattr(binding, name)))


def _counting(method: Any) -> Any:
    def call(*args: Any, **options: Any) -> Any:
        count()
        return method(*args, **options)

    return call


def counted_kv(binding: Any) -> Any:
    """A KV namespace, counted."""
    return None if binding is None else Counted(binding, "get", "put", "delete", "list")


def counted_d1(binding: Any) -> Any:
    """A D1 database, counted: a prepared statement is run once."""
    return None if binding is None else Counted(binding, "prepare")
