"""D1's binding as JavaScript gives it, and what its errors mean. It knows no table.

Whether a statement was carried out is not known where D1 failed in passing: who repeats it must know that it may be run
twice, and that others may have come between.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import anyio

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.javascript import JsException

_T = TypeVar("_T")

_OURS = (
    "D1_TYPE_ERROR",
    "Wrong number of parameter bindings",
    "SQLITE_ERROR",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_TOOBIG",
    "SQLITE_RANGE",
)
"""What the errors say for which this module is to blame."""
_PASSING = ("Network connection lost", "storage caused object to be reset", "reset because its code was updated")
"""Errors after which D1's documentation asks for another try: the statement was carried out, or it was not."""
_PAUSES_S = (0.05, 0.2)


class Lost(StoreUnavailable):
    """D1 failed in passing, and may be asked again."""


class Rows(Protocol):
    """What a statement resolves to, still in JavaScript."""

    def to_py(self) -> list[list[Any]]:
        """One list for each row."""
        ...


class D1Statement(Protocol):
    """A prepared statement."""

    def bind(self, *values: str | float) -> D1Statement: ...
    def raw(self) -> Awaitable[Rows]: ...


class D1Binding(Protocol):
    """The binding as JavaScript gives it, not in the SDK's wrapper, which costs twice as much."""

    def prepare(self, query: str, /) -> D1Statement: ...


async def run(binding: D1Binding, statement: str, *values: str | float) -> list[list[Any]]:
    """The rows that one statement answers with; a write answers with none unless it says RETURNING.

    Raises:
        Lost: D1 failed in passing.
        StoreUnavailable: D1 is overloaded, or failed otherwise.
        JsException: the statement or a value is wrong.
    """
    try:
        return (await binding.prepare(statement).bind(*values).raw()).to_py()
    except JsException as e:
        reason = str(e)
        if any(word in reason for word in _OURS):
            raise
        passing = any(word in reason for word in _PASSING)
        raise (Lost if passing else StoreUnavailable)(f"D1 failed: {reason}") from e


async def repeated(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """What `attempt` answers, which is made again when D1 failed in passing.

    Raises:
        StoreUnavailable: it failed each time.
    """
    for pause_s in _PAUSES_S:
        try:
            return await attempt()
        except Lost:
            await anyio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter keeps the waiters apart
    try:
        return await attempt()
    except Lost as e:
        raise StoreUnavailable(str(e)) from e.__cause__
