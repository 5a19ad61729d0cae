"""Anybody may ask whether a process is ready, as often as he likes: the store is read once a second."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.deployment import Deployment, Instance

pytestmark = pytest.mark.anyio


def noted(a: Instance) -> list[str]:
    """The keys that are read from now on."""
    keys: list[str] = []
    records: Any = a.platform.records
    get = records.get

    async def noting(key: str) -> bytes | None:
        keys.append(key)
        return await get(key)

    records.get = noting
    return keys


async def asked(a: Instance, times: int = 1) -> set[int]:
    calls = [a.send("GET", "/readyz") for _ in range(times)]
    return {(await call.whole()).status for call in calls}


async def test_however_many_ask_the_store_is_read_once_a_second(edge: Deployment) -> None:
    a = edge.instance("A")
    assert await asked(a) == {200}
    keys = noted(a)
    edge.clock.advance(0.9)
    within = await asked(a, 100)
    read_within = len(keys)
    edge.clock.advance(0.2)

    assert (within, read_within) == ({200}, 0)
    assert (await asked(a, 100), len(keys)) == ({200}, 1)


async def test_who_asks_while_the_store_is_being_read_waits_for_that(edge: Deployment) -> None:
    a = edge.instance("A")
    await asked(a)
    edge.clock.advance(1)
    keys = noted(a)
    a.link.cut()
    calls = [a.send("GET", "/readyz") for _ in range(100)]
    for _ in range(20):
        await asyncio.sleep(0)
    a.link.mend()

    assert {(await call.whole()).status for call in calls} == {200}
    assert keys == ["ready"]


async def test_a_store_that_is_away_is_asked_once_a_second_too(edge: Deployment) -> None:
    a = edge.instance("A")
    await asked(a)
    keys = noted(a)
    edge.clock.advance(1)
    a.link.refused = True
    away = await asked(a, 100)
    a.link.mend()
    edge.clock.advance(1)

    assert (away, keys) == ({503}, ["ready"])
    assert await asked(a) == {200}


async def test_a_reader_whose_request_ended_leaves_nobody_waiting(edge: Deployment) -> None:
    a = edge.instance("A")
    await asked(a)
    edge.clock.advance(1)
    a.link.cut()
    first, second = a.send("GET", "/readyz"), a.send("GET", "/readyz")
    for _ in range(20):
        await asyncio.sleep(0)
    await first.kill()
    a.link.mend()

    assert (await second.whole()).status == 200


async def test_a_process_that_is_about_to_stop_says_so_at_once(edge: Deployment) -> None:
    a = edge.instance("A")
    await asked(a)
    a.drain.draining = True
    at_once = await asked(a)
    a.drain.draining = False
    edge.clock.advance(1)
    a.link.cut()
    waiting = a.send("GET", "/readyz")
    for _ in range(20):
        await asyncio.sleep(0)
    a.drain.draining = True
    a.link.mend()

    assert (at_once, (await waiting.whole()).status) == ({503}, 503)
