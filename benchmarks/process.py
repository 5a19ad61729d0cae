"""Child processes of a benchmark: a free port, a server that answers, an end. It knows no contender."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from benchmarks.wire import Answer, Post, Request

ROOT = Path(__file__).parent.parent


def environment() -> dict[str, str]:
    """The environment of a child: this checkout importable, bytecode cached, no option of ours inherited."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MCP_")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    given = env.get("PYTHONPATH", "")
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT), *([given] if given else [])])
    return env


def python(arguments: Sequence[str], *, timeout_s: float = 300) -> Any:
    """What a fresh interpreter prints, read as JSON.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no end after {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise RuntimeError(_last_line(done.stderr))
    return json.loads(done.stdout)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")[:160]


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post_to(port: int, *, timeout_s: float = 10) -> Post:
    """`post` over a new connection each time."""

    async def post(request: Request) -> Answer:
        return post_now(port, request, timeout_s=timeout_s)

    return post


def post_now(port: int, request: Request, *, timeout_s: float = 10) -> Answer:
    """One POST to /mcp, blocking: nothing else runs in this process meanwhile."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", "/mcp", request.body, request.headers)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()


@contextmanager
def serving(arguments: Sequence[str], port: int) -> Generator[float]:
    """A server in its own process, from the moment it accepts connections. Yields the `perf_counter` of its start.

    Raises:
        RuntimeError: it ended or did not listen within 30 s.
    """
    began = time.perf_counter()
    with started(arguments, port):
        yield began


@contextmanager
def started(arguments: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> Generator[int]:
    """A server in its own process with `env` besides. Yields its process id when it accepts connections.

    Raises:
        RuntimeError: as `serving`.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:  # a pipe that nobody reads would stop the server
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            _wait(child, port, said)
            yield child.pid
        finally:
            child.send_signal(signal.SIGINT)  # SIGTERM asks for a drain, which takes its time
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait(child: subprocess.Popen[bytes], port: int, said: TextIO) -> None:
    deadline = time.monotonic() + 30
    while True:
        if child.poll() is not None:
            said.seek(0)
            raise RuntimeError(_last_line(said.read()))
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError("it did not listen within 30 s") from None
            time.sleep(0.002)
        else:
            return
