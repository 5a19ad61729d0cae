"""Processes are asked to stop one after another under load, as a rolling deploy does, and no request fails at all."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from mcp_edge.hosts.cli.server import SILENT_S, EdgeServer
from mcp_edge.platform import Platform, ProcessDrain
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory
from tests.resilience.client import Attempt, Client, Refused, next_number
from tests.resilience.load import Load, effects, new_keys, verdict
from tests.resilience.tally import Tally
from tests.resilience.wire import send
from tests.support.fleet import Fleet

RUN_S = float(os.environ.get("RESILIENCE_S") or 60) / 2
"""How long processes leave and come back in `make test-deep`."""
DRAIN_S = 1.5
CHECK_S = 0.1
"""How often the proxy asks whether a process is ready, well within the drain."""
APP = "tests.resilience.server:create_server"

pytestmark = pytest.mark.serial


async def seen_unready(port: int) -> tuple[int, str | None]:
    """The status of `/readyz` and what it says of the connection, once it is no longer 200."""
    async with asyncio.timeout(DRAIN_S):
        while True:
            async with send(port, "GET", "/readyz", {}) as response:
                await response.body()
            if response.status != 200:
                return response.status, response.headers.get("connection")


@pytest.mark.parametrize("run_s", [10, pytest.param(RUN_S, marks=pytest.mark.deep)])
@pytest.mark.timeout(60 + 2 * RUN_S)
def test_no_request_fails_while_processes_leave_and_come_back(tmp_path: Path, run_s: float) -> None:
    keys, env = new_keys()
    store = tmp_path / "mcp.db"
    env["MCP_DRAIN_S"] = str(DRAIN_S)
    with Fleet(app=APP, count=3, store=f"sqlite:{store}", auth="keys", env=env, check_s=CHECK_S) as fleet:
        assert fleet.proxy is not None
        load = Load(fleet.proxy.port, keys, may_be_cut=False)
        codes: list[int] = []

        async def ask_one_after_another_to_leave() -> None:
            until = time.monotonic() + run_s
            for i in itertools.cycle(range(3)):
                fleet.terminate(i)
                load.tally.counts["drains"] += 1
                assert await seen_unready(fleet.ports[i]) == (503, "close")
                codes.append(await asyncio.to_thread(fleet.wait, i))
                await asyncio.to_thread(fleet.start, i)
                await asyncio.sleep(3 * CHECK_S)  # until the proxy has seen that it is back
                if time.monotonic() > until:
                    return

        asyncio.run(load.run(ask_one_after_another_to_leave))
    print(load.tally.report("drained"))
    assert verdict(load.tally, asyncio.run(effects(store))) == ""
    assert set(codes) == {0}
    assert {name: load.tally.counts[name] for name in ("cuts", "repeated", "interrupted")} == {
        "cuts": 0,
        "repeated": 0,
        "interrupted": 0,
    }
    assert load.tally.counts["resumed"] > 0
    assert load.tally.counts["streams closed"] > 0


async def asking(fleet: Fleet, keys: dict[str, str], tool: str) -> tuple[Client, asyncio.Task[object], int]:
    """A client whose call waits for an answer, and the process that runs the call."""
    assert fleet.proxy is not None
    client = Client(Tally(), fleet.proxy.port, keys["ann"], may_be_cut=False)
    client.may_answer.clear()
    await client.open()
    number = next_number()
    running: asyncio.Task[object] = asyncio.create_task(Attempt(client, tool, number, f"{number}.0").run())
    async with asyncio.timeout(5):
        await client.asked.wait()
    return client, running, fleet.ports.index(fleet.proxy.exchanges[-1].port)


def test_a_suspended_question_outlives_its_process_and_is_answered_elsewhere(tmp_path: Path) -> None:
    keys, env = new_keys()
    env["MCP_DRAIN_S"] = str(DRAIN_S)

    async def scenario(fleet: Fleet) -> None:
        client, running, i = await asking(fleet, keys, "ask_first")
        fleet.terminate(i)
        assert await asyncio.to_thread(fleet.wait, i) == 0
        client.may_answer.set()
        async with asyncio.timeout(10):
            await running  # it checks the answer itself
        assert client.tally.problems == []
        assert client.tally.counts["questions"] == 1

    store = f"sqlite:{tmp_path}/mcp.db"
    with Fleet(app=APP, count=2, store=store, auth="keys", env=env, check_s=CHECK_S) as fleet:
        asyncio.run(scenario(fleet))


def test_a_held_question_gets_its_error_when_the_drain_is_over(tmp_path: Path) -> None:
    keys, env = new_keys()
    env["MCP_DRAIN_S"] = str(DRAIN_S)

    async def scenario(fleet: Fleet) -> None:
        client, running, i = await asking(fleet, keys, "ask_held")
        fleet.terminate(i)
        with pytest.raises(Refused, match="The server is restarting; please call again"):
            async with asyncio.timeout(10):
                await running
        assert await asyncio.to_thread(fleet.wait, i) == 0
        assert client.tally.problems == []
        assert client.tally.counts["resumed"] >= 1

    store = f"sqlite:{tmp_path}/mcp.db"
    with Fleet(app=APP, count=2, store=store, auth="keys", env=env, check_s=CHECK_S) as fleet:
        asyncio.run(scenario(fleet))


def test_a_held_question_that_is_answered_during_the_drain_gets_its_result(tmp_path: Path) -> None:
    keys, env = new_keys()
    env["MCP_DRAIN_S"] = "5"

    async def scenario(fleet: Fleet) -> None:
        client, running, i = await asking(fleet, keys, "ask_held")
        fleet.terminate(i)
        assert await seen_unready(fleet.ports[i]) == (503, "close")
        client.may_answer.set()
        async with asyncio.timeout(10):
            await running
        assert client.tally.problems == []

    store = f"sqlite:{tmp_path}/mcp.db"
    with Fleet(app=APP, count=2, store=store, auth="keys", env=env, check_s=CHECK_S) as fleet:
        asyncio.run(scenario(fleet))


def await_closed(address: tuple[str, int]) -> None:
    """Return when nobody listens there any more."""
    with suppress(ConnectionError):  # the last one may still be taken by the kernel
        while True:
            socket.create_connection(address, timeout=10).close()
            time.sleep(0.01)  # a queue that is full would hold the next one for a second


@pytest.mark.parametrize(("drain_s", "pause_s"), [(0, 0), (4, 2 * SILENT_S)], ids=["at once", "later"])
def test_a_request_that_has_begun_to_arrive_is_served_after_the_listener_has_closed(
    tmp_path: Path, drain_s: int, pause_s: float
) -> None:
    env = {"MCP_DRAIN_S": str(drain_s)}
    with Fleet(app=APP, count=1, store=f"sqlite:{tmp_path}/mcp.db", env=env) as fleet:
        address = ("127.0.0.1", fleet.ports[0])
        with socket.create_connection(address, timeout=10) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\n")
            fleet.terminate(0)
            await_closed(address)
            time.sleep(pause_s)
            slow.sendall(b"Host: 127.0.0.1\r\n\r\n")
            assert slow.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert fleet.wait(0) == 0


async def answer_ok(scope: Scope, receive: Receive, send: Send) -> None:
    """The smallest app."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def test_what_waits_to_be_accepted_is_served_before_the_listener_closes() -> None:
    records, atomics = open_memory()
    drain = ProcessDrain()
    platform = Platform(Settings.from_env({"MCP_DRAIN_S": "0"}), records, atomics, drain=drain)
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        waiting = [
            opened.enter_context(socket.create_connection(listener.getsockname(), timeout=10)) for _ in range(50)
        ]
        for connection in waiting:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        server = EdgeServer(answer_ok, platform, drain)
        server.handle_exit(signal.SIGTERM, None)  # it is to stop before it has accepted anything
        asyncio.run(server.serve(sockets=[listener]))
        heads = [connection.recv(4096).partition(b"\r\n")[0] for connection in waiting]
    assert heads == [b"HTTP/1.1 200 OK"] * 50
