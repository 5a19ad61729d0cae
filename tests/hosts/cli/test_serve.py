"""`mcp-edge serve` as a supervisor and its clients see it: start, drain, workers, reload."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_edge.hosts.cli.serve import listener
from tests.hosts.cli.command import PREFIX, clean_env
from tests.support.fleet import Fleet, free_port

APP = "tests.hosts.cli.waiting_server:create_server"
DEADLINE_S = 20.0


def call_tool(url: str, name: str, **arguments: str) -> httpx.Response:
    """One whole `tools/call` on its own connection (MCP 2026-07-28)."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return httpx.post(
        f"{url}/mcp",
        headers={
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": name,
        },
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments, "_meta": meta},
        },
        timeout=DEADLINE_S,
    )


def text_of(response: httpx.Response) -> str:
    """The text of a tool's result, from JSON or from the last event of a stream."""
    body: Any = response.text
    if response.headers["content-type"].startswith("text/event-stream"):
        body = [line[6:] for line in body.splitlines() if line.startswith("data: ")][-1]
    return httpx.Response(200, text=body).json()["result"]["content"][0]["text"]


def process_of(url: str) -> int:
    """The id of the process that answers now."""
    return int(text_of(call_tool(url, "process")))


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll `condition` under a deadline: nothing announces these states from outside."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.02)


def refuses(url: str) -> bool:
    """Whether nobody listens any more."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'mcp.db'}"


@contextmanager
def serving(
    cwd: Path, *options: str, env: dict[str, str] | None = None, command: Sequence[str] = PREFIX
) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A server started by hand; its process group ends with the context."""
    port = free_port()
    process = subprocess.Popen(
        [*command, "serve", "--port", str(port), *options],
        cwd=cwd,
        env=clean_env(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: process.poll() is not None or ready(url), "readiness")
        yield process, url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)


def ready(url: str) -> bool:
    """Whether the server takes calls."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_a_start_says_where_it_serves_what_it_keeps_and_how_to_connect(tmp_path: Path) -> None:
    with serving(tmp_path, "--app", "my_server.server:create_server", "--store", "sqlite:here.db") as (process, url):
        assert process.stdout
        said = "".join(process.stdout.readline() for _ in range(8))
    for words in (
        f"{url}/mcp",
        "streamable HTTP at /mcp",
        "/sse",
        "sqlite:here.db",
        f"claude mcp add --transport http my-server {url}/mcp",
        f'{{"mcpServers": {{"my-server": {{"type": "http", "url": "{url}/mcp"}}}}}}',
    ):
        assert words in said
    assert (tmp_path / "here.db").exists()


@pytest.mark.serial
def test_a_second_start_takes_less_than_three_seconds(tmp_path: Path) -> None:
    took: list[float] = []
    for _ in range(2):
        began = time.monotonic()
        with serving(tmp_path, "--app", "my_server.server:create_server"):
            took.append(time.monotonic() - began)
    assert took[1] < 3


def test_each_call_is_logged_once_without_its_arguments(tmp_path: Path, store: str) -> None:
    (tmp_path / "released").touch()
    with Fleet(app=APP, count=1, store=store) as fleet:
        call_tool(fleet.url, "wait_for", started=f"{tmp_path}/private", released=f"{tmp_path}/released")
        until(lambda: '"name":"wait_for"' in fleet.logs(0), "the line of the call")
        log = fleet.logs(0)
    assert log.count('"event":"call"') == 1
    assert "private" not in log


def test_an_answer_is_never_held_back_for_an_acknowledgement() -> None:
    with listener("127.0.0.1", 0) as sock, socket.create_connection(sock.getsockname()):
        connection, _ = sock.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_sigterm_fails_readiness_first_and_stops_listening_later(store: str) -> None:
    with Fleet(app=APP, count=1, store=store, env={"MCP_DRAIN_S": "1"}) as fleet, httpx.Client() as client:
        kept = client.get(f"{fleet.url}/healthz")
        assert "connection" not in kept.headers
        fleet.terminate(0)
        until(lambda: httpx.get(f"{fleet.url}/readyz").status_code == 503, "unreadiness")
        last = client.get(f"{fleet.url}/healthz")
        assert (last.status_code, last.headers["connection"].split(", ")[0]) == (200, "close")
        assert call_tool(fleet.url, "process").status_code == 200
        assert fleet.wait(0) == 0
        assert refuses(fleet.url)


def test_a_call_in_flight_outlives_the_end_of_listening(tmp_path: Path, store: str) -> None:
    started, released = tmp_path / "started", tmp_path / "released"
    with (
        Fleet(app=APP, count=1, store=store, env={"MCP_DRAIN_S": "3", "MCP_QUIET_S": "30"}) as fleet,
        ThreadPoolExecutor(1) as other,
    ):
        answer = other.submit(call_tool, fleet.url, "wait_for", started=str(started), released=str(released))
        until(started.exists, "the start of the call")
        fleet.terminate(0)
        fleet.terminate(0)  # the second signal ends listening at once
        until(lambda: refuses(fleet.url), "the end of listening")
        released.touch()
        assert text_of(answer.result(DEADLINE_S)) == "released"
        assert fleet.wait(0) == 0


def test_a_call_that_does_not_end_cannot_keep_the_process(tmp_path: Path, store: str) -> None:
    started = tmp_path / "started"
    with (
        Fleet(app=APP, count=1, store=store, env={"MCP_DRAIN_S": "0", "MCP_QUIET_S": "30"}) as fleet,
        ThreadPoolExecutor(1) as other,
    ):
        answer = other.submit(call_tool, fleet.url, "wait_for", started=str(started), released="/nowhere")
        until(started.exists, "the start of the call")
        fleet.terminate(0)
        assert fleet.wait(0) == 0
        assert answer.result(DEADLINE_S).status_code == 500
        assert "a call was cut off" in fleet.logs(0)


def test_workers_share_the_port_and_a_killed_one_is_replaced(store: str) -> None:
    with Fleet(app=APP, count=1, store=store, args=["--workers", "2"]) as fleet:
        seen: set[int] = set()

        def two() -> bool:
            seen.add(process_of(fleet.url))
            return len(seen) == 2

        until(two, "an answer of each worker")
        assert fleet.pid(0) not in seen
        before = set(seen)
        os.kill(before.pop(), signal.SIGKILL)
        until(lambda: process_of(fleet.url) not in seen, "an answer of the new worker")


def test_sigterm_drains_all_workers(tmp_path: Path, store: str) -> None:
    started, released = tmp_path / "started", tmp_path / "released"
    env = {"MCP_DRAIN_S": "1", "MCP_QUIET_S": "30"}
    with (
        Fleet(app=APP, count=1, store=store, args=["--workers", "2"], env=env) as fleet,
        ThreadPoolExecutor(1) as other,
    ):
        answer = other.submit(call_tool, fleet.url, "wait_for", started=str(started), released=str(released))
        until(started.exists, "the start of the call")
        fleet.terminate(0)
        until(lambda: refuses(fleet.url), "the end of listening")
        released.touch()
        assert text_of(answer.result(DEADLINE_S)) == "released"
        assert fleet.wait(0) == 0


def test_workers_do_not_outlive_a_killed_supervisor(tmp_path: Path, store: str) -> None:
    with serving(tmp_path, "--store", store, "--workers", "2") as (process, url):
        process.kill()
        process.wait(DEADLINE_S)
        until(lambda: refuses(url), "the end of the workers")


def test_a_worker_that_refuses_its_settings_ends_the_supervisor(tmp_path: Path, store: str) -> None:
    with serving(tmp_path, "--store", store, "--workers", "2", "--app", "nowhere:create_server") as (process, _):
        assert process.wait(DEADLINE_S) == 2


def test_ctrl_c_stops_at_once_when_nothing_is_in_flight(tmp_path: Path, store: str) -> None:
    for workers in ("1", "2"):
        options = ("--store", store, "--workers", workers)
        with serving(tmp_path, *options, env={"MCP_DRAIN_S": "600"}) as (process, _):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
            assert process.wait(DEADLINE_S) == 0


RELOADED = """
from mcp.server.mcpserver import MCPServer

def create_server(settings):
    server = MCPServer("reloaded")

    @server.tool()
    async def process() -> int:
        return {answer}

    return server
"""


def test_reload_serves_the_new_code_and_waits_while_it_is_broken(tmp_path: Path, store: str) -> None:
    module = tmp_path / "reloaded.py"
    module.write_text(RELOADED.format(answer="1"))
    with serving(tmp_path, "--store", store, "--reload", "--app", "reloaded:create_server") as (_, url):
        assert process_of(url) == 1
        module.write_text("this is (no Python\n")
        until(lambda: not answers(url), "the end of the old code")
        module.write_text(RELOADED.format(answer="22"))
        until(lambda: answers(url), "the new code")
        assert process_of(url) == 22


def answers(url: str) -> bool:
    """Whether a worker answers; without one, a connection waits on the supervisor's socket."""
    try:
        return httpx.get(f"{url}/healthz", timeout=0.5).status_code == 200
    except httpx.TransportError:
        return False
