"""Processes are killed one after another under load, and no client is the worse for it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mcp_edge.records.stream_log import FENCE, FINAL
from mcp_edge.storage.sqlite import open_sqlite
from tests.resilience.client import Attempt, Client, next_number
from tests.resilience.load import Load, effects, new_keys, verdict
from tests.resilience.tally import Tally
from tests.resilience.wire import Event
from tests.support.fleet import Fleet

RUN_S = float(os.environ.get("RESILIENCE_S") or 60)
"""How long processes are killed in `make test-deep`."""
EVERY_S = 4.0
APP = "tests.resilience.server:create_server"

pytestmark = pytest.mark.serial


@pytest.mark.parametrize("run_s", [15, pytest.param(RUN_S, marks=pytest.mark.deep)])
@pytest.mark.timeout(60 + 2 * RUN_S)
def test_no_client_loses_its_session_or_its_answer_or_waits_long_while_processes_are_killed(
    tmp_path: Path, run_s: float
) -> None:
    keys, env = new_keys()
    store = tmp_path / "mcp.db"
    with Fleet(app=APP, count=3, store=f"sqlite:{store}", auth="keys", env=env) as fleet:
        assert fleet.proxy is not None
        load = Load(fleet.proxy.port, keys, may_be_cut=True)

        async def kill_one_after_another() -> None:
            until = time.monotonic() + run_s
            for i in itertools.cycle(range(3)):
                began = time.monotonic()
                await asyncio.to_thread(fleet.kill, i)
                load.tally.counts["kills"] += 1
                await asyncio.to_thread(fleet.start, i)
                await asyncio.sleep(began + EVERY_S - time.monotonic())
                if time.monotonic() > until:
                    return

        asyncio.run(load.run(kill_one_after_another))
    print(load.tally.report("killed"))
    assert verdict(load.tally, asyncio.run(effects(store))) == ""
    assert load.tally.counts["kills"] >= run_s / EVERY_S / 2
    assert load.tally.counts["resumed"] > 0
    assert load.tally.counts["repeated"] > 0


def test_a_process_that_thaws_has_lost_the_calls_that_others_took_over(tmp_path: Path) -> None:
    store = tmp_path / "mcp.db"

    async def scenario(fleet: Fleet) -> str:
        frozen, other = (Client(Tally(), port, "none", may_be_cut=False) for port in fleet.ports)
        await frozen.open()
        other.rejoin(frozen.session_id)
        attempt = Attempt(other, "idempotent_steps", number := next_number(), token := f"{number}.0")
        async with frozen.post(attempt.message) as response:
            events = response.events()
            last = await anext(event.id async for event in events if event.data.strip())
            os.kill(fleet.pid(0), signal.SIGSTOP)
            assert await attempt.go_on(last) == {"n": number, "token": token, "word": ""}
            os.kill(fleet.pid(0), signal.SIGCONT)
            said = [event async for event in events]
        assert said[-1] == Event("", "", retry=True)
        assert not any("result" in event.data for event in said)
        assert other.tally.problems == []
        return last.partition(".")[0]

    async def kinds(stream: str) -> list[bytes]:
        records, atomics = open_sqlite(store)
        entries = await atomics.read(f"stream/{stream}/")
        await records.aclose()
        await atomics.aclose()
        return [entry.value[:1] for entry in entries]

    with Fleet(app=APP, count=2, store=f"sqlite:{store}", env={"MCP_LEASE_S": "1"}, proxy=False) as fleet:
        stream = asyncio.run(scenario(fleet))
    written = asyncio.run(kinds(stream))
    assert written.count(FINAL) == 1
    assert written[-1] == FINAL
    assert FENCE in written


async def status(held: AsyncExitStack, client: Client) -> int:
    """Open the client's standalone stream, which stays open with `held`; the status."""
    response = await held.enter_async_context(client.request("GET"))
    return response.status


def test_what_a_killed_process_held_does_not_count_against_the_client_that_comes_back(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet) -> None:
        clients = [Client(Tally(), fleet.ports[0], "none", may_be_cut=True) for _ in range(3)]
        for client in clients:
            await client.open()
        async with AsyncExitStack() as held:
            assert [await status(held, client) for client in clients] == [200, 200, 200]
            fleet.kill(0)
        stranger = Client(Tally(), fleet.ports[1], "none", may_be_cut=True)
        await stranger.open()
        async with AsyncExitStack() as held:
            for client in clients:
                client.port = fleet.ports[1]
            assert [await status(held, client) for client in (*clients, stranger)] == [200, 200, 200, 429]

    store = f"sqlite:{tmp_path}/mcp.db"
    with Fleet(app=APP, count=2, store=store, env={"MCP_MAX_STREAMS": "3"}, proxy=False) as fleet:
        asyncio.run(scenario(fleet))
