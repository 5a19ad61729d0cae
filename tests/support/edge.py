"""`edge`: a deployment that must leave nothing running behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.deployment import Deployment


@pytest.fixture
async def edge(anyio_backend: str) -> AsyncIterator[Deployment]:
    """An empty deployment. After the test no task of the app's may be left: nothing runs after a response."""
    del anyio_backend
    before = asyncio.all_tasks()
    deployment = Deployment()
    yield deployment
    await deployment.close()
    for _ in range(20):
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not _is_the_runners(task)}
    for task in left:
        task.cancel()
    assert not left, f"left running: {left}"


def _is_the_runners(task: asyncio.Task[object]) -> bool:
    """Whether the task is the one that runs fixtures and tests."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "/anyio/" in code.co_filename
