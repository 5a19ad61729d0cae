"""A fleet of `mcp-edge serve` processes on one store, behind the strict round robin. It knows no protocol but HTTP."""

from __future__ import annotations

import http.client
import os
import random
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256

from tests.support.processes import Processes
from tests.support.root import ROOT
from tests.support.round_robin import RoundRobin

START_S = 30.0
"""Deadline for a process to become ready. Generous: two cores may be starting several at once."""


def free_port() -> int:
    """A loopback port that nobody listens on, below the range from which the kernel takes ports for outgoing
    connections: it stays free while its process is down. Each worker of pytest-xdist has ports of its own, so that
    none takes what another has found and does not listen on yet.

    Raises:
        OSError: no port could be found.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _ in range(100):
        port = random.randrange(20000 + worker, 32000, workers)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


class Fleet(Processes):
    """`count` servers of `app` while the context is open."""

    def __init__(
        self,
        *,
        app: str = "tests.support.conformance_server:create_server",
        count: int = 2,
        store: str,
        auth: str = "none",
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        proxy: bool | None = None,
        check_s: float | None = None,
        tls: ssl.SSLContext | None = None,
        name: str = "localhost",
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """`store` as `--store` takes it; `env` adds to a clean environment without other `MCP_` names; `args` adds
        options of `serve`. `proxy` defaults to True for more than one process; with `check_s` it asks for readiness.
        With `tls` the proxy ends TLS, as `name`. With `auth="oauth"` the processes know the one URL that they all have;
        users sign in there with their `keys` if there are any."""
        super().__init__()
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
        self._auth = auth
        self._check_s = check_s
        self._tls, self._name = tls, name
        self._keys = keys or {}
        self._with_proxy = count > 1 if proxy is None else proxy
        self.proxy: RoundRobin | None = None
        """The round robin; its `served` tells which port took each request. None for a single process."""
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        """Where clients connect, without a path."""

    def _open(self) -> None:
        proxy = None
        if self._with_proxy:
            proxy = RoundRobin(self.ports, check_s=self._check_s, tls=self._tls, name=self._name)
        if proxy is not None:
            self._exit.callback(proxy.close)
            self.url = proxy.url
        if self._auth == "oauth":
            self._env.setdefault("MCP_PUBLIC_URL", self.url)
        if self._keys:
            digests = {user: sha256(f"{self.url}\n{key}".encode()).hexdigest() for user, key in self._keys.items()}
            self._env |= {"MCP_IDENTITY": "keys", "MCP_KEYS": ",".join(f"{u}:{d}" for u, d in digests.items())}
        for i in range(len(self.ports)):
            self._launch(i)
        for i in range(len(self.ports)):
            self._await_ready(i)
        if proxy is not None:
            self.proxy = self._exit.enter_context(proxy)

    def kill(self, i: int) -> None:
        """SIGKILL process `i`; it is gone on return."""
        self._asked.add(_name(i))
        self._end(self._running[_name(i)])

    def terminate(self, i: int) -> None:
        """SIGTERM process `i`; `wait` tells when it has ended."""
        self._asked.add(_name(i))
        self._running[_name(i)].send_signal(signal.SIGTERM)

    def wait(self, i: int, *, timeout_s: float = 30) -> int:
        """The exit code of process `i`, negative for a signal, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it is still running after `timeout_s` seconds.
        """
        return self._running[_name(i)].wait(timeout_s)

    def start(self, i: int) -> None:
        """Start process `i` again on its port, and wait until it is ready."""
        assert self._running[_name(i)].poll() is not None, f"process {i} still runs"
        self._launch(i)
        self._await_ready(i)

    def logs(self, i: int) -> str:
        """What process `i` has printed so far, all its lives together."""
        return self._printed(_name(i))

    def pid(self, i: int) -> int:
        """The process id of process `i`."""
        return self._running[_name(i)].pid

    def _launch(self, i: int) -> None:
        command = [
            sys.executable,
            "-m",
            "mcp_edge.hosts.cli",
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.ports[i]),
        ]
        self._start(_name(i), [*command, *self._options], cwd=ROOT, env=self._env)

    def _await_ready(self, i: int) -> None:
        self._awaited(_name(i), lambda: _ready(self.ports[i]) or None, START_S)


def _name(i: int) -> str:
    return f"process {i}"


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
