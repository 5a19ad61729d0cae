"""The worst that one caller can send, and what it costs all others: how long they wait, how much memory is gone.

Each row is a server of its own (`mcp-edge serve` with the template's tools, on loopback), one call, and `/healthz`
asked all the time meanwhile. A row is one entry of `CALLS`: a name and what makes the attack, a function of the port.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.process import free_port, started
from benchmarks.report import Part, Row, Target, at_most, progress
from benchmarks.wire import CLIENT, HANDSHAKE, MODERN

MOST_WAIT_S = 0.3
MOST_GROWTH_MIB = 100
DEADLINE_S = 60

Attack = Callable[[int], str]
"""Attacks the server at a port; returns what became of it, such as `400, 92 B`."""


# -- what is sent ------------------------------------------------------------------------------------------------------


def message(method: str, params: dict[str, Any], id_: Any = 1) -> dict[str, Any]:
    """A request without its revision's envelope."""
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def call(**arguments: Any) -> dict[str, Any]:
    """A call of `add_note`."""
    return message("tools/call", {"name": "add_note", "arguments": {"title": "t", "text": "x", **arguments}})


def modern(body: dict[str, Any]) -> Attack:
    """Send a request of 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {**body["params"], "_meta": {**meta, **body["params"].get("_meta", {})}}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": body["method"][:200]}
    named = params.get("uri" if body["method"] == "resources/read" else "name")
    if isinstance(named, str):
        headers["mcp-name"] = named[:200]
    return partial(_post, body=json.dumps({**body, "params": params}).encode(), headers=headers)


def handshake(body: Any, version: str = HANDSHAKE) -> Attack:
    """Send a request, or a batch, in a session of an older revision."""
    raw = json.dumps(body).encode()

    def attack(port: int) -> str:
        opening = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
        connection = _connection(port)
        connection.request("POST", "/mcp", json.dumps(message("initialize", opening)), _HEADERS)
        session = connection.getresponse()
        session.read()
        connection.close()
        headers = {"mcp-session-id": session.headers["mcp-session-id"], "mcp-protocol-version": version}
        return _post(port, body=raw, headers=headers)

    return attack


def alone(body: dict[str, Any]) -> Attack:
    """Send a request without a session."""
    return partial(_post, body=json.dumps(body).encode(), headers={})


def posted(body: dict[str, Any]) -> Attack:
    """Post a request to a stream of 2024-11-05, and read its answer there."""
    raw = json.dumps(body).encode()

    def attack(port: int) -> str:
        stream = _connection(port)
        stream.request("GET", "/sse", headers={"accept": "text/event-stream"})
        events = stream.getresponse()
        path = _data_of(events).decode()
        opening = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": CLIENT}
        _post(port, body=json.dumps(message("initialize", opening, 0)).encode(), headers={}, path=path)
        _data_of(events)
        said = _post(port, body=raw, headers={}, path=path)
        if said.startswith("202"):
            said = f"202, then {len(_data_of(events)):,} B"
        events.close()
        stream.close()
        return said

    return attack


_ICONS = [{"src": "x"}] * 400_000
_ANSWERS = {str(n): {} for n in range(150_000)}
_URIS = [f"note://{n}" for n in range(200_000)]
_WHO: dict[str, Any] = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {**CLIENT, "icons": _ICONS}}

CALLS: Mapping[str, Callable[[], Attack]] = {
    "90,000 wrong items": lambda: modern(call(tags=[1] * 90_000)),
    "90,000 wrong items, in a session": lambda: handshake(call(tags=[1] * 90_000)),
    "90,000 wrong items, posted": lambda: posted(call(tags=[1] * 90_000)),
    "1,900,000 wrong items": lambda: modern(call(tags=[1] * 1_900_000)),
    "1,300,000 wrong items in a text": lambda: modern(call(tags=json.dumps([1] * 1_300_000))),
    "a member of 3.9 MB": lambda: modern(call(**{"k" * 3_900_000: 1})),
    "a text of 3.9 MB, all commas": lambda: modern(call(text="," * 3_900_000)),
    "a batch of 64 with 1,500 wrong items each": lambda: handshake(
        [{**call(tags=[1] * 1500), "id": n} for n in range(64)], "2025-03-26"
    ),
    "a tool's name of 3.9 MB": lambda: modern(message("tools/call", {"name": "x" * 3_900_000, "arguments": {}})),
    "a resource's URI of 3.9 MB": lambda: modern(message("resources/read", {"uri": "note://" + "x" * 3_900_000})),
    "an id of 3.9 MB": lambda: modern(message("tools/list", {}, "x" * 3_900_000)),
    "a client with 400,000 icons": lambda: alone(message("initialize", _WHO)),
    "150,000 answers that nobody asked for": lambda: modern(
        message("tools/call", {"name": "add_note", "arguments": {}, "inputResponses": _ANSWERS})
    ),
    "200,000 URIs to listen for": lambda: modern(
        message("subscriptions/listen", {"notifications": {"resourceSubscriptions": _URIS}})
    ),
}
"""Name -> what makes the attack; it is made when its turn comes, since it is large."""


# -- sending -----------------------------------------------------------------------------------------------------------

_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)


def _post(port: int, *, body: bytes, headers: Mapping[str, str], path: str = "/mcp") -> str:
    connection = _connection(port)
    try:
        connection.request("POST", path, body, {**_HEADERS, **headers})
        response = connection.getresponse()
        size = len(response.read())
        return f"{response.status}, {size:,} B"
    finally:
        connection.close()


def _data_of(events: http.client.HTTPResponse) -> bytes:
    """The data of the next event."""
    while line := events.readline():
        if line.startswith(b"data: "):
            return line[6:].strip()
    raise RuntimeError("the stream has ended")


# -- measuring ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost the others."""

    said: str
    wait_s: float
    """The longest that `/healthz` had to wait."""
    growth_mib: float | None
    """The process's peak over what it had before; None where the system does not say."""


def measure(attack: Attack, store: str, env: Mapping[str, str]) -> Cost:
    """Attack a fresh server."""
    port = free_port()
    arguments = ["-m", "mcp_edge.cli", "serve", "--port", str(port), "--store", store]
    with started(arguments, port, env) as pid:
        for _ in range(3):
            _ask(port)
        _post(port, body=json.dumps(message("ping", {})).encode(), headers={})  # it starts at its first request
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
    connection = _connection(port)
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
    """Every call on every store."""
    rows: list[Row] = []
    data: dict[str, dict[str, Any]] = {}
    with _stores(quick=quick) as stores:
        for name, (store, env) in stores.items():
            progress(f"worst: {len(CALLS)} calls on {name}")
            for what, cost in _costs(store, env):
                data[f"{what}, {name}"] = {"said": cost.said, "wait_s": cost.wait_s, "growth_mib": cost.growth_mib}
                memory = "" if cost.growth_mib is None else f"+{cost.growth_mib:.0f} MiB"
                rows.append(Row("worst", f"{what}, {name}", f"{cost.wait_s * 1000:.0f} ms", memory, cost.said))
    return Part(rows, _targets(data), data)


def _costs(store: str, env: Mapping[str, str]) -> Iterator[tuple[str, Cost]]:
    for what, attack in CALLS.items():
        yield what, measure(attack(), store, env)


def _targets(data: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    waits = [each["wait_s"] for each in data.values()]
    growths = [each["growth_mib"] for each in data.values() if each["growth_mib"] is not None]
    return [
        at_most("others wait during the worst call", max(waits, default=None), MOST_WAIT_S, "s"),
        at_most("the process grows by the worst call", max(growths, default=None), MOST_GROWTH_MIB, "MiB", digits=0),
    ]
