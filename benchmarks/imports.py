"""What importing costs, and how soon a fresh process answers. Every sample is a process of its own, in turns."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.process import free_port, post_now, python, serving
from benchmarks.report import Part, Row, Target, at_most, progress
from benchmarks.wire import Answer, Post, Request, check, prepare

CLOCK = """
import json, sys, time
def now(): return time.perf_counter() * 1000, time.process_time() * 1000, len(sys.modules)
seen = [now()]
{imports}
print(json.dumps(seen))
"""
MCP = "import mcp; seen.append(now())"
OURS = "import mcp_edge.app, my_server.server; seen.append(now())"
KINDS = {"scratch": OURS, "added": f"{MCP}\n{OURS}"}

SDK_SERVER = (
    "import sys; from benchmarks.echo import create_server as c; c().run('streamable-http', port=int(sys.argv[1]))"
)
OUR_SERVER = "import sys; from mcp_edge.hosts.cli.main import main; sys.exit(main())"


def _spread(values: list[float]) -> str:
    return f"{min(values):,.0f} - {max(values):,.0f}"


def _samples(count: int, failed: dict[str, str]) -> dict[str, list[tuple[float, float, int]]]:
    """Per name: wall ms, CPU ms, modules loaded."""
    found: dict[str, list[tuple[float, float, int]]] = {"mcp": [], "scratch": [], "added": []}
    for turn in range(count + 1):  # the first turn writes the bytecode
        for kind, imports in KINDS.items():
            if kind in failed:
                continue
            try:
                seen: list[Any] = python(["-c", CLOCK.format(imports=imports)])
            except RuntimeError as e:
                failed[kind] = str(e)
                continue
            steps = [(b[0] - a[0], b[1] - a[1], b[2] - a[2]) for a, b in pairwise(seen)]
            if turn:
                for name, step in zip(["scratch"] if kind == "scratch" else ["mcp", "added"], steps, strict=True):
                    found[name].append(step)
        if "added" in failed and turn:
            seen = python(["-c", CLOCK.format(imports=MCP)])
            found["mcp"].append((seen[1][0] - seen[0][0], seen[1][1] - seen[0][1], seen[1][2] - seen[0][2]))
    return found


@contextmanager
def _sdk_server(port: int) -> Iterator[float]:
    with serving(["-c", SDK_SERVER, str(port)], port) as began:
        yield began


@contextmanager
def _floor_server(port: int) -> Iterator[float]:
    with serving(["-m", "benchmarks.host", "floor", str(port)], port) as began:
        yield began


@contextmanager
def _our_server(port: int) -> Iterator[float]:
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--store", f"sqlite:{folder}/bench.db", "--auth", "none"]
        arguments = ["-c", OUR_SERVER, "serve", "--app", "benchmarks.echo:create_server", *options]
        with serving(arguments, port) as began:
            yield began


SERVERS: dict[str, Callable[[int], Any]] = {
    "floor: bare Starlette, uvicorn": _floor_server,
    "SDK, MCPServer.run": _sdk_server,
    "mcp-edge serve": _our_server,
}


def _first_answer(server: Callable[[int], Any], request: Request) -> float:
    """Milliseconds from the start of the process to the answer of its first call."""
    port = free_port()
    with server(port) as began:
        answer: Answer = post_now(port, request)
        elapsed = time.perf_counter() - began
    check(answer)
    return elapsed * 1000


async def _unused(request: Request) -> Answer:
    raise RuntimeError("a modern call needs no handshake")


def run(*, quick: bool) -> Part:
    """Imports, then cold starts."""
    progress("import: fresh processes taking turns")
    failed: dict[str, str] = {}
    found = _samples(2 if quick else 9, failed)
    labels = {
        "mcp": "`import mcp`",
        "scratch": "`import mcp_edge.app, my_server.server`",
        "added": "the same after `import mcp`",
    }
    rows: list[Row] = []
    data: dict[str, Any] = {}
    for name, label in labels.items():
        if not found[name]:
            rows.append(Row("import", label, "not run", failed.get(name, "")))
            continue
        wall, cpu = [s[0] for s in found[name]], [s[1] for s in found[name]]
        modules = found[name][0][2]
        data[name] = {"wall_ms": median(wall), "cpu_ms": median(cpu), "modules": modules, "samples": len(wall)}
        against = f"CPU {median(cpu):,.0f} ms, {modules} modules"
        rows.append(Row("import", label, f"{median(wall):,.0f} ms", _spread(wall), against))
    _cold_starts(2 if quick else 5, rows, data)
    return Part(rows, _targets(data), data)


def _cold_starts(count: int, rows: list[Row], data: dict[str, Any]) -> None:
    post: Post = _unused
    request = asyncio.run(prepare("modern", post, {}))
    times: dict[str, list[float]] = {name: [] for name in SERVERS}
    failed: dict[str, str] = {}
    for turn in range(count + 1):
        for name, server in SERVERS.items():
            if turn > 1 and not times[name]:
                continue
            try:
                elapsed = _first_answer(server, request)
            except (RuntimeError, OSError) as e:
                failed[name] = str(e)
                continue
            if turn:
                times[name].append(elapsed)
    for name, values in times.items():
        label = f"process start to first answer, {name}"
        if not values:
            rows.append(Row("import", label, "not run", failed.get(name, "")))
            continue
        data[f"first answer: {name}"] = {"wall_ms": median(values), "samples": len(values)}
        rows.append(Row("import", label, f"{median(values):,.0f} ms", _spread(values)))


def _targets(data: dict[str, Any]) -> list[Target]:
    added = data["added"]["wall_ms"] if "added" in data else None
    return [at_most("what this project adds to `import mcp`", added, 60, "ms", digits=0)]
