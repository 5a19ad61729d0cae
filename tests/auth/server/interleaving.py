"""Something that another request does between two operations of the stores."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.auth.server.deployment import Deployment, authorize
from tests.support.visitor import Visitor


def between(operations: int) -> pytest.MarkDecorator:
    """Before each of so many operations: all of them in memory, and on each engine every third, so that together they
    have all. `make test` has memory and SQLite, `make test-deep` the engines that are reached over HTTP."""
    engines = {"sqlite": (), "dynamodb": (pytest.mark.deep,), "cloudflare": (pytest.mark.deep,)}
    places = [pytest.param("memory", at) for at in range(1, operations + 1)]
    places += [
        pytest.param(engine, at, marks=marks)
        for n, (engine, marks) in enumerate(engines.items())
        for at in range(1 + n, operations + 1, len(engines))
    ]
    return pytest.mark.parametrize(("everywhere", "at"), places, indirect=["everywhere"])


@asynccontextmanager
async def approving(edge: Deployment) -> AsyncGenerator[tuple[Visitor, Visitor]]:
    """Two browsers of one user, who has let the app in with each of them."""
    async with edge.visitor() as here, edge.visitor(address="198.51.100.7") as there:
        await authorize(here)
        await authorize(there)
        yield here, there


def meanwhile(edge: Deployment, patch: pytest.MonkeyPatch, at: int, what: Callable[[], Awaitable[object]]) -> list[str]:
    """Let `what` happen right before the operation `at` of the stores; what they were asked."""
    log: list[str] = []

    def disturbed(name: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def do(key: str, *args: Any, **kwargs: Any) -> Any:
            if not key.startswith("limit/"):
                log.append(f"{name} {key}")
                if len(log) == at:
                    await what()
            return await work(key, *args, **kwargs)

        return do

    for store in (edge.platform.atomics, edge.platform.records):
        for name in ("create", "get", "swap", "delete", "read", "put", "list"):
            if hasattr(store, name):
                patch.setattr(store, name, disturbed(name, getattr(store, name)))
    return log
