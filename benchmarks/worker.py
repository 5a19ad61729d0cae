"""The Worker on Pyodide under Node: CPU per call beside the SDK's way in the same isolate, operations, start, memory.

KV answers from the host's memory, nothing is printed and no rate limit is bound, so that both do the same work.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.report import Part, Row, Target, at_most, progress
from benchmarks.wire import Answer, Era, Request, check, prepare
from tests.hosts.cloudflare.isolates import Isolates
from tests.support.http_host import HttpHost
from tests.support.node import node_command, node_env

APP = "benchmarks.echo:create_server"
CALLS = 40
LABELS = {
    "bare": "a Worker that answers with the body",
    "bridged": "the same behind our bridge to ASGI",
    "sdk-handshake": "SDK, app per request, 2025-11-25",
    "sdk-modern": "SDK, app per request, 2026-07-28",
    "ours-handshake": "mcp-edge, 2025-11-25, session from KV",
    "ours-modern": "mcp-edge, 2026-07-28",
}


def _requests(isolates: Isolates) -> dict[str, dict[str, Any]]:
    """The same call for everybody; the session is opened on the isolate that is not measured."""
    host = HttpHost(isolates.url, streaming=True)

    async def post(request: Request) -> Answer:
        reply = host.send("POST", "/mcp", request.headers, request.body)
        return Answer(reply.status, dict(reply.headers), reply.whole())

    found: dict[str, dict[str, Any]] = {}
    eras: dict[str, Era] = {"handshake": "handshake", "modern": "modern"}
    for name, era in eras.items():
        request = asyncio.run(prepare(era, post, {"host": "127.0.0.1:8000"}))
        request.headers["content-length"] = str(len(request.body))  # as every client of HTTP/1.1 and 2 sends it
        alone = {k: v for k, v in request.headers.items() if k != "mcp-session-id"}  # it keeps no session
        found[f"sdk-{name}"] = {"headers": alone, "body": request.body.decode(), "entry": "sdk"}
        found[f"ours-{name}"] = {"headers": request.headers, "body": request.body.decode(), "entry": "ours"}
    return found | {name: {**found["sdk-handshake"], "entry": name} for name in ("bare", "bridged")}


def run(*, quick: bool) -> Part:
    """Measure in one isolate what another has opened a session for."""
    with Isolates(app=APP, count=1, late=False) as isolates:
        what = {"seconds": 15 if quick else 60, "calls": CALLS, "contenders": _requests(isolates)}
        progress(f"worker: {len(LABELS)} contenders taking turns for {what['seconds']} s on Pyodide")
        script = str(Path(__file__).with_suffix(".mjs"))
        config = json.dumps(isolates.config(0, isolates.relay))
        done = subprocess.run(
            [*node_command(), "--experimental-wasm-jspi", script, config, json.dumps(what)],
            env=node_env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), "")
    if not line:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    for name, (status, body) in result["answers"].items():
        if "-" in name:
            check(Answer(status, {}, body.encode()))
    return _part(result)


def _part(result: dict[str, Any]) -> Part:
    rows: list[Row] = []
    cost: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for name, label in LABELS.items():
        values = [value / 1000 for value in result["costs"][name]]
        low, _, high = quantiles(values, n=4)
        cost[name] = median(values)
        against, era = "", name.partition("-")[2]
        if name.startswith("ours"):
            pairs = zip(result["costs"][name], result["costs"][f"sdk-{era}"], strict=True)
            ratios[era] = median(mine / theirs for mine, theirs in pairs)
            against = f"{ratios[era]:.2f} x SDK; {_spent(result['spent'][name])}"
        rows.append(Row("worker", label, f"{cost[name]:.2f} ms", f"{low:.2f} - {high:.2f}", against))
    times, memory = result["times"], result["memory"]
    rows += [
        Row("worker", "start: Pyodide", f"{times['pyodide_ms']:.0f} ms", "", "in production a snapshot's"),
        Row("worker", "start: imports", f"{times['import_ms']:.0f} ms", "", f"{memory['modules']} modules"),
        Row("worker", "memory of WebAssembly", f"{memory['wasm'] / 2**20:.0f} MiB", "", "of an isolate's 128 MB"),
    ]
    return Part(rows, _targets(ratios, result), {"ms": cost, "ratio": ratios, **result["times"], **memory})


def _spent(operations: dict[str, int]) -> str:
    """`KV 1, D1 0`."""
    by_binding = {name: sum(n for key, n in operations.items() if key.startswith(name)) for name in ("KV", "DB")}
    return f"KV {by_binding['KV']}, D1 {by_binding['DB']}"


def _targets(ratios: dict[str, float], result: dict[str, Any]) -> list[Target]:
    reads = max(
        sum(n for key, n in result["spent"][name].items() if key.startswith(("KV", "DB")))
        for name in ("ours-handshake", "ours-modern")
    )
    return [
        at_most("Worker: CPU of a handshake call beside the SDK's", ratios["handshake"], 0.35, "x"),
        at_most("Worker: CPU of a modern call beside the SDK's", ratios["modern"], 0.35, "x"),
        at_most("Worker: reads of KV and D1 per call without authorization", reads, 1, "reads", digits=0),
    ]
