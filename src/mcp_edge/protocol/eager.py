"""A coroutine begun at once: one that waits for nothing costs neither a task nor a timer. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def begin(job: Coroutine[Any, Any, T]) -> T | Awaitable[T]:
    """The result of `job` if it waits for nothing; else the rest of it, to be awaited in the task that began it.

    Raises:
        BaseException: what `job` raises before it waits.
    """
    try:
        waits_for = job.send(None)
    except StopIteration as done:
        return done.value
    return _rest(job, waits_for)


@coroutine
def _rest(job: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Await the rest of a coroutine that has begun and waits for `waits_for`."""
    while True:
        try:
            value = yield waits_for
        except BaseException as e:  # noqa: BLE001 # a cancellation, too, belongs to the job
            step, value = job.throw, e
        else:
            step = job.send
        try:
            waits_for = step(value)
        except StopIteration as done:
            return done.value
