"""Isolates of the Worker on one set of bindings, behind the strict round robin. It knows no protocol but HTTP."""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.fleet import ROOT, TRACEBACK, free_port
from tests.support.node import node_command, node_env
from tests.support.round_robin import RoundRobin
from tests.worker.vendor import BUILD, CONFIG, SHIMS, vendored

HERE = Path(__file__).parent
START_S = 90.0
"""Deadline for an isolate to listen: two cores may be compiling and importing for several at once."""


class Isolates:
    """`count` isolates of `worker/entry.py` while the context is open. A traceback in a log, or an exit unasked, fails
    the test."""

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
        self._exit = ExitStack()
        self._with_proxy = count > 1 if proxy is None else proxy
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = Path()
        self.ports: list[int] = []
        self.relay = 0
        """The port of the bindings."""
        self.started: list[dict[str, float]] = []
        """What each isolate said of its start, in milliseconds."""
        self.proxy: RoundRobin | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._logs = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="isolates-")))
        try:
            relay = self.relay = self._launch("bindings", [str(HERE / "bindings.mjs")])["port"]
            ports: list[int] = []
            while len(ports) < self._count:
                if (port := free_port()) not in ports:
                    ports.append(port)
            for i, port in enumerate(ports):
                self._start(f"isolate {i}", [str(HERE / "isolate.mjs"), json.dumps(self.config(port, relay))])
            self.started = [self._announced(f"isolate {i}") for i in range(self._count)]
            self.ports = ports
            self.url = f"http://127.0.0.1:{ports[0]}"
            if self._with_proxy:
                self.proxy = self._exit.enter_context(RoundRobin(ports))
                self.url = self.proxy.url
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

    def logs(self, i: int) -> str:
        """What isolate `i` has logged so far as information."""
        return self._log(f"isolate {i}")

    def errors(self, i: int) -> str:
        """What isolate `i` has logged so far as warnings and errors."""
        return self._log(f"isolate {i}", "err")

    def pid(self, i: int) -> int:
        """What `os.getpid` says in isolate `i`."""
        return self._processes[f"isolate {i}"].pid

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

    def _launch(self, name: str, command: Sequence[str]) -> dict[str, Any]:
        self._start(name, command)
        return self._announced(name)

    def _start(self, name: str, command: Sequence[str]) -> None:
        with (self._logs / f"{name}.log").open("ab") as log, (self._logs / f"{name}.err").open("ab") as errors:
            self._processes[name] = subprocess.Popen(
                [*node_command(), "--experimental-wasm-jspi", *command],
                cwd=HERE,
                env=node_env(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=errors,
            )

    def _announced(self, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + START_S
        while True:
            for line in self._log(name).splitlines():
                if line.startswith('{"port":'):
                    return json.loads(line)
            code = self._processes[name].poll()
            if code is not None or time.monotonic() > deadline:
                what = f"exited with {code}" if code is not None else f"did not listen within {START_S:.0f} s"
                raise AssertionError(f"{name} {what}\n{self._all(name)}")
            time.sleep(0.02)  # a poll under a deadline: a file announces nothing

    def _log(self, name: str, kind: str = "log") -> str:
        return (self._logs / f"{name}.{kind}").read_text(errors="replace")

    def _all(self, name: str) -> str:
        return self._log(name) + self._log(name, "err")

    def _end(self) -> None:
        for process in reversed(list(self._processes.values())):
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        self._exit.close()

    def _faults(self) -> list[str]:
        found: list[str] = []
        for name, process in self._processes.items():
            log = self._all(name)
            if TRACEBACK.search(log):
                found.append(f"{name} printed a traceback:\n{log[-8000:]}")
            if process.poll() is not None:
                found.append(f"{name} exited unasked with {process.returncode}:\n{log[-8000:]}")
        return found
