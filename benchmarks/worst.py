"""The worst that one caller can do, and what it costs all others: how long they wait, how much memory is gone.

Each row is a server of its own (`mcp-edge serve` on loopback), one attack, and `/healthz` asked all the time meanwhile.
The attacks are `worst_calls.CALLS`, one request each, on the template's tools, and `worst_clients.CLIENTS`.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process import free_port, started
from benchmarks.report import Part, Row, Target, at_most, progress
from benchmarks.worst_calls import CALLS, Attack, connection_to, message, post
from benchmarks.worst_clients import CLIENTS

MOST_WAIT_S = 0.3
MOST_GROWTH_MIB = 100
SERVER = "benchmarks.worst_server:create_server"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost the others."""

    said: str
    wait_s: float
    """The longest that `/healthz` had to wait."""
    growth_mib: float | None
    """The process's peak over what it had before; None where the system does not say."""


def measure(attack: Attack, store: str, env: Mapping[str, str], app: str = "") -> Cost:
    """Attack a fresh server, of the template's tools or of those that `app` makes."""
    port = free_port()
    arguments = ["-m", "mcp_edge.hosts.cli", "serve", "--port", str(port), "--store", store]
    arguments += ["--app", app] if app else []
    with started(arguments, port, env) as pid:
        for _ in range(3):
            _ask(port)
        post(port, body=json.dumps(message("ping", {})).encode(), headers={})  # it starts at its first request
        before = _memory(pid, "VmRSS")
        ended = threading.Event()
        waits: list[float] = []
        watching = threading.Thread(target=_watch, args=(port, ended, waits))
        watching.start()
        try:
            said = attack(port)
        except (OSError, http.client.HTTPException) as e:
            said = f"{type(e).__name__}"
        finally:
            time.sleep(0.2)  # what is done after the answer counts as well
            ended.set()
            watching.join()
        peak = _memory(pid, "VmHWM")
    return Cost(said, max(waits), None if before is None or peak is None else peak - before)


def _watch(port: int, ended: threading.Event, waits: list[float]) -> None:
    while not ended.is_set():
        waits.append(_ask(port))
        time.sleep(0.005)


def _ask(port: int) -> float:
    began = time.perf_counter()
    connection = connection_to(port)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    finally:
        connection.close()
    return time.perf_counter() - began


def _memory(pid: int, name: str) -> float | None:
    """A line of the process's status in MiB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{name}:")), None)


@contextmanager
def _stores(*, quick: bool) -> Generator[dict[str, tuple[str, dict[str, str]]]]:
    """Name -> the store and what its server has to know."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        found: dict[str, tuple[str, dict[str, str]]] = {"SQLite": (f"sqlite:{folder}/bench.db", {})}
        if not quick:
            from benchmarks.invocations import table

            env = stack.enter_context(table())
            found["DynamoDB"] = (env.pop("MCP_STORE"), env)
        yield found


def run(*, quick: bool) -> Part:
    """Every attack on every store."""
    rows: list[Row] = []
    data: dict[str, dict[str, Any]] = {}
    with _stores(quick=quick) as stores:
        for name, (store, env) in stores.items():
            progress(f"worst: {len(CALLS)} calls, {len(CLIENTS)} clients on {name}")
            for what, cost in _costs(store, env):
                data[f"{what}, {name}"] = {"said": cost.said, "wait_s": cost.wait_s, "growth_mib": cost.growth_mib}
                memory = "" if cost.growth_mib is None else f"+{cost.growth_mib:.0f} MiB"
                rows.append(Row("worst", f"{what}, {name}", f"{cost.wait_s * 1000:.0f} ms", memory, cost.said))
    return Part(rows, _targets(data), data)


def _costs(store: str, env: Mapping[str, str]) -> Iterator[tuple[str, Cost]]:
    for what, attack in CALLS.items():
        yield what, measure(attack(), store, env)
    for what, client in CLIENTS.items():
        yield what, measure(client.run, store, {**env, **client.env}, SERVER)


def _targets(data: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    waits = [each["wait_s"] for each in data.values()]
    growths = [each["growth_mib"] for each in data.values() if each["growth_mib"] is not None]
    return [
        at_most("others wait during the worst attack", max(waits, default=None), MOST_WAIT_S, "s"),
        at_most("the process grows by the worst attack", max(growths, default=None), MOST_GROWTH_MIB, "MiB", digits=0),
    ]
