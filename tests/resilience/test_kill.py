"""Processes are killed one after another under load, and no client is the worse for it."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from pathlib import Path

import pytest

from tests.resilience.load import Load, effects, new_keys, verdict
from tests.support.fleet import Fleet

RUN_S = float(os.environ.get("RESILIENCE_S") or (60 if os.environ.get("CI") else 15))
"""How long processes are killed: a minute where it counts, less while one works on the code."""
EVERY_S = 4.0
APP = "tests.resilience.server:create_server"


@pytest.mark.timeout(60 + 2 * RUN_S)
def test_no_client_loses_its_session_or_its_answer_or_waits_long_while_processes_are_killed(tmp_path: Path) -> None:
    keys, env = new_keys()
    store = tmp_path / "mcp.db"
    with Fleet(app=APP, count=3, store=f"sqlite:{store}", auth="keys", env=env) as fleet:
        assert fleet.proxy is not None
        load = Load(fleet.proxy.port, keys, may_be_cut=True)

        async def kill_one_after_another() -> None:
            until = time.monotonic() + RUN_S
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
    assert load.tally.counts["kills"] >= RUN_S / EVERY_S / 2
    assert load.tally.counts["resumed"] > 0
    assert load.tally.counts["repeated"] > 0
