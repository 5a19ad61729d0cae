"""A fleet of `mcp-edge serve` processes on one store, behind the strict round robin. It knows no protocol but HTTP."""

from __future__ import annotations

import http.client
import os
import random
import re
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.round_robin import RoundRobin

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
"""Deadline for a process to become ready. Generous: two cores may be starting several at once."""
TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Exception ignored in|never awaited")


def free_port() -> int:
    """A loopback port that nobody listens on, below the range from which the kernel takes ports for outgoing
    connections: it stays free while its process is down.

    Raises:
        OSError: no port could be found.
    """
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


class Fleet:
    """`count` servers of `app` while the context is open. A traceback in a log, or an exit unasked, fails the test."""

    def __init__(
        self,
        *,
        app: str = "tests.conformance_server:create_server",
        count: int = 2,
        store: str,
        auth: str = "none",
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        proxy: bool | None = None,
        check_s: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`store` as `--store` takes it; `env` adds to a clean environment without other `MCP_` names; `args` adds
        options of `serve`. `proxy` defaults to True for more than one process; with `check_s` it asks for readiness.
        With `tls` the proxy ends TLS. With `auth="oauth"` the processes know the one URL that they all have."""
        self.ports: list[int] = []
        while len(self.ports) < count:
            if (port := free_port()) not in self.ports:
                self.ports.append(port)
        self._options = ["--app", app, "--store", store, "--auth", auth, *args]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MCP_")}
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        self._env = {
            **inherited,
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
            "MCP_SECRET_KEYS": secrets.token_hex(32),
            **(env or {}),
        }
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._asked: set[int] = set()
        self._exit = ExitStack()
        self._logs = Path()
        self._auth = auth
        self._check_s = check_s
        self._tls = tls
        self._with_proxy = count > 1 if proxy is None else proxy
        self.proxy: RoundRobin | None = None
        """The round robin; its `served` tells which port took each request. None for a single process."""
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        """Where clients connect, without a path."""

    def __enter__(self) -> Self:
        self._logs = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
        proxy = RoundRobin(self.ports, check_s=self._check_s, tls=self._tls) if self._with_proxy else None
        try:
            if proxy is not None:
                self._exit.callback(proxy.close)
                self.url = proxy.url
            if self._auth == "oauth":
                self._env.setdefault("MCP_PUBLIC_URL", self.url)
            for i in range(len(self.ports)):
                self._launch(i)
            for i in range(len(self.ports)):
                self._await_ready(i)
            if proxy is not None:
                self.proxy = self._exit.enter_context(proxy)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            faults = self._faults()
        finally:
            self._end()
        if faults and error is not None:
            error.add_note("\n".join(faults))
        elif faults:
            raise AssertionError("\n".join(faults))

    def kill(self, i: int) -> None:
        """SIGKILL process `i`; it is gone on return."""
        self._asked.add(i)
        self._kill(i)

    def terminate(self, i: int) -> None:
        """SIGTERM process `i`; `wait` tells when it has ended."""
        self._asked.add(i)
        self._processes[i].send_signal(signal.SIGTERM)

    def wait(self, i: int, *, timeout_s: float = 30) -> int:
        """The exit code of process `i`, negative for a signal, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it is still running after `timeout_s` seconds.
        """
        return self._processes[i].wait(timeout_s)

    def start(self, i: int) -> None:
        """Start process `i` again on its port, and wait until it is ready."""
        assert self._processes[i].poll() is not None, f"process {i} still runs"
        self._launch(i)
        self._await_ready(i)

    def logs(self, i: int) -> str:
        """What process `i` has printed so far, all its lives together."""
        return (self._logs / f"{i}.log").read_text(errors="replace")

    def pid(self, i: int) -> int:
        """The process id of process `i`."""
        return self._processes[i].pid

    def _launch(self, i: int) -> None:
        command = [sys.executable, "-m", "mcp_edge.cli", "serve", "--host", "127.0.0.1", "--port", str(self.ports[i])]
        with (self._logs / f"{i}.log").open("ab") as log:
            self._processes[i] = subprocess.Popen(
                [*command, *self._options],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own workers end with it
            )
        self._asked.discard(i)

    def _await_ready(self, i: int) -> None:
        deadline = time.monotonic() + START_S
        while not _ready(self.ports[i]):
            code = self._processes[i].poll()
            if code is not None or time.monotonic() > deadline:
                what = f"exited with {code}" if code is not None else f"was not ready after {START_S:.0f} s"
                raise AssertionError(f"process {i} {what}\n{self.logs(i)}")
            time.sleep(0.02)  # a poll under a deadline: nothing announces readiness from outside

    def _kill(self, i: int) -> None:
        process = self._processes[i]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def _end(self) -> None:
        for i in self._processes:
            self._kill(i)
        self._exit.close()

    def _faults(self) -> list[str]:
        found: list[str] = []
        for i, process in self._processes.items():
            log = self.logs(i)
            if TRACEBACK.search(log):
                found.append(f"process {i} printed a traceback:\n{log[-8000:]}")
            if i not in self._asked and process.poll() is not None:
                found.append(f"process {i} exited unasked with {process.returncode}:\n{log[-8000:]}")
        return found


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
