"""Load on an HTTP server: wrk where it is installed, else a small generator of our own, bounded by a count of calls.

The small generator shares one event loop among its connections and costs about as much as the floor answers, so
its rates compare contenders but say less about the fastest ones. Both are closed loops: a connection sends its next
call when the last one is answered.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.wire import Request

CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Load:
    """One pass: answered calls per second, latencies in milliseconds, and calls that got no 200."""

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def tool() -> str:
    """`wrk`, or the stand-in."""
    return "wrk" if shutil.which("wrk") else "own generator (wrk is not installed)"


def load(port: int, request: Request, *, seconds: float, calls: int) -> Load:
    """Load the server: for `seconds` with wrk, else with `calls` calls in at most twice those seconds."""
    if path := shutil.which("wrk"):
        return _wrk(path, port, request, seconds)
    return asyncio.run(_own(port, request, calls, seconds * 2))


def warm(port: int, request: Request) -> None:
    """A few hundred calls that nobody counts."""
    asyncio.run(_own(port, request, 400, 5))


def _lua(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _wrk(path: str, port: int, request: Request, seconds: float) -> Load:
    lines = ['wrk.method = "POST"', f"wrk.body = {_lua(request.body.decode())}"]
    lines += [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in request.headers.items()]
    lines += [
        "function done(summary, latency, requests)",
        "  local e = summary.errors",
        "  io.stderr:write(string.format(",
        '    \'{"calls":%d,"us":%d,"p50":%d,"p99":%d,"failed":%d}\',',
        "    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),",
        "    e.connect + e.read + e.write + e.status + e.timeout))",
        "end",
    ]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "call.lua"
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [path, "-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s", "-s", str(script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/mcp"], capture_output=True, text=True, timeout=seconds + 30, check=True
        )
    found = json.loads(done.stderr)
    return Load(found["calls"] / found["us"] * 1e6, found["p50"] / 1000, found["p99"] / 1000, found["failed"])


async def _own(port: int, request: Request, calls: int, limit_s: float) -> Load:
    head = [f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {len(request.body)}\r\n"]
    head += [f"{name}: {value}\r\n" for name, value in request.headers.items()]
    message = "".join([*head, "\r\n"]).encode() + request.body
    latencies: list[float] = []
    failed = 0
    began = time.perf_counter()

    async def connection(count: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for _ in range(count):
                sent = time.perf_counter()
                if sent - began > limit_s:
                    return
                writer.write(message)
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(answer.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
                await reader.readexactly(length)
                failed += b" 200 " not in answer[:16]
                latencies.append(time.perf_counter() - sent)
        finally:
            writer.close()

    await asyncio.gather(*(connection(calls // CONNECTIONS) for _ in range(CONNECTIONS)))
    elapsed = time.perf_counter() - began
    latencies.sort()
    last = len(latencies) - 1
    return Load(len(latencies) / elapsed, latencies[last // 2] * 1000, latencies[round(last * 0.99)] * 1000, failed)
