"""Isolates of the Worker on one set of bindings, behind the strict round robin. It knows no protocol but HTTP."""

from __future__ import annotations

import json
import secrets
import subprocess
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.hosts.cloudflare.vendor import BUILD, CONFIG, SHIMS, vendored
from tests.support.fleet import free_port
from tests.support.node import node_command, node_env
from tests.support.processes import Processes
from tests.support.root import ROOT
from tests.support.round_robin import RoundRobin

HERE = Path(__file__).parent
START_S = 90.0
"""Deadline for an isolate to listen: two cores may be compiling and importing for several at once."""


class Isolates(Processes):
    """`count` isolates of `worker/entry.py` while the context is open."""

    def __init__(
        self,
        *,
        app: str | None = None,
        count: int = 2,
        env: Mapping[str, str | float] | None = None,
        proxy: bool | None = None,
        late: bool = True,
        without: Sequence[str] = (),
        internet: Mapping[str, Any] | None = None,
    ) -> None:
        """`app` is served in place of the fork's server, as `module:function`; `env` adds variables and secrets.
        `late`: KV shows a write after five seconds only, and answers what it has read, misses included, for a minute.
        `without` names bindings that wrangler.toml has lost. `internet` is all that `fetch` reaches: URLs, and what
        load.mjs makes of their pages.
        """
        super().__init__()
        self._app = app
        self._late = late
        self._without = list(without)
        self._internet = internet
        self._count = count
        self._vars = {
            **tomllib.loads(CONFIG.read_text())["vars"],
            "MCP_SECRET_KEYS": secrets.token_hex(32),
            "MCP_AUTH": "none",
            "MCP_PUBLIC_URL": "https://mcp.example.com",
            **(env or {}),
        }
        self._with_proxy = count > 1 if proxy is None else proxy
        self.ports: list[int] = []
        self.relay = 0
        """The port of the bindings."""
        self.started: list[dict[str, float]] = []
        """What each isolate said of its start, in milliseconds."""
        self.proxy: RoundRobin | None = None
        self.url = ""

    def _open(self) -> None:
        self._launch("bindings", str(HERE / "bindings.mjs"))
        relay = self.relay = self._announced("bindings")["port"]
        ports: list[int] = []
        while len(ports) < self._count:
            if (port := free_port()) not in ports:
                ports.append(port)
        for i, port in enumerate(ports):
            self._launch(f"isolate {i}", str(HERE / "isolate.mjs"), json.dumps(self.config(port, relay)))
        self.started = [self._announced(f"isolate {i}") for i in range(self._count)]
        self.ports = ports
        self.url = f"http://127.0.0.1:{ports[0]}"
        if self._with_proxy:
            self.proxy = self._exit.enter_context(RoundRobin(ports))
            self.url = self.proxy.url

    def logs(self, i: int) -> str:
        """What isolate `i` has logged so far as information."""
        return self._log(f"isolate {i}")

    def errors(self, i: int) -> str:
        """What isolate `i` has logged so far as warnings and errors."""
        return self._log(f"isolate {i}", "err")

    def pid(self, i: int) -> int:
        """What `os.getpid` says in isolate `i`."""
        return self._running[f"isolate {i}"].pid

    def control(self, i: int, name: str) -> Any:
        """Ask the host of isolate `i`: `operations`, `forget`, `memory`, `scheduled`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[i]}/-/{name}", timeout=30) as answer:
            return json.load(answer)

    def config(self, port: int, relay: int) -> dict[str, Any]:
        """What load.mjs takes: the port to listen on, that of the bindings, and the bundle."""
        packages = vendored()
        (BUILD / "pycache").mkdir(parents=True, exist_ok=True)
        root = "/session/metadata"
        mounts = {
            f"{root}/python_modules": str(packages),
            f"{root}/mcp_edge": str(ROOT / "src" / "mcp_edge"),
            "/host": str(HERE / "runtime"),
            "/shims": str(SHIMS),
            "/pycache": str(BUILD / "pycache"),
        }
        files = {f"{root}/entry.py": (ROOT / "worker" / "entry.py").read_text()}
        if self._app is None:
            mounts[f"{root}/my_server"] = str(ROOT / "src" / "my_server")
        else:
            module, _, function = self._app.partition(":")
            package = module.partition(".")[0]
            mounts[f"{root}/{package}"] = str(ROOT / package)
            files[f"{root}/my_server/__init__.py"] = ""
            files[f"{root}/my_server/server.py"] = f"from {module} import {function} as create_server\n"
        bundle = {"mounts": mounts, "files": files}
        told = {"vars": self._vars, "late": self._late, "without": self._without, "internet": self._internet}
        return {"port": port, "bindings": relay, **told, **bundle}

    def _launch(self, name: str, *arguments: str) -> None:
        command = [*node_command(), "--experimental-wasm-jspi", *arguments]
        self._start(name, command, cwd=HERE, env=node_env(), stdin=subprocess.PIPE)

    def _announced(self, name: str) -> dict[str, Any]:
        return self._awaited(name, lambda: _announcement(self._log(name)), START_S)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _announcement(log: str) -> dict[str, Any] | None:
    return next((json.loads(line) for line in log.splitlines() if line.startswith('{"port":')), None)
