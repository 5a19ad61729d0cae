"""A reader who does what a page says, block after block, in a checkout of their own on a port of their own."""

from __future__ import annotations

import fnmatch
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.docs.pages import Block
from tests.support.fleet import free_port
from tests.support.node import NODE_MODULES, node_env
from tests.support.processes import TRACEBACK
from tests.support.root import ROOT

_COPIED = (
    ".npmrc",
    "Makefile",
    "README.md",
    "docs",
    "package-lock.json",
    "pyproject.toml",
    "requirements",
    "src",
    "tests/.npmrc",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/my_server",
    "tests/package-lock.json",
    "tests/support",
)
_SERVES = re.compile(r"^(make run|\S*mcp-edge serve)(?!.*--help)", re.MULTILINE)
_DEADLINE_S = 60
_DRY_RUN = {"make test": "it is what runs this test"}
"""Commands of which only the grammar is tried, and why."""


class Reader:
    """Follows pages. What a command printed is in `said`, by its text; `words` are what stands for something else."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "mcp-edge"
        self.port = free_port()
        self.said: dict[str, str] = {}
        self.words = {"8000": str(self.port), "/path/to/mcp-edge": str(self.root)}
        self._server: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"
        home = folder / "home"
        home.mkdir()
        tools = Path(sys.prefix, "bin")
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MCP_", "MAKE"))},
            "HOME": str(home),
            "PATH": os.pathsep.join([str(tools), node_env()["PATH"]]),
            "PORT": str(self.port),
            "PYTHONPATH": os.pathsep.join([str(self.root / "src"), str(self.root)]),
            "npm_config_offline": "true",  # what is not in node_modules is not fetched
            "npm_config_update_notifier": "false",
        }

    def __enter__(self) -> Self:
        (self.root / "tests").mkdir(parents=True)
        for name in _COPIED:
            source, target = ROOT / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        for lock in (self.root / "pyproject.toml", *(self.root / "requirements").iterdir()):
            os.utime(lock, (0, 0))  # older than the environment: `make run` finds nothing to install
        (self.root / ".venv").symlink_to(sys.prefix)
        (self.root / "node_modules").symlink_to(NODE_MODULES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._log.exists():
            error.add_note(self.log[-4000:])
        self._stop()

    @property
    def log(self) -> str:
        """What the servers have printed."""
        return self._log.read_text(errors="replace")

    def follow(self, block: Block) -> None:
        """Do what the block says."""
        follow: dict[str, Callable[[str], None]] = {
            "sh": self._type,
            "console": self._compare,
            "python": self._write_or_run,
            "diff": self._apply,
        }
        if block.kind in follow:
            try:
                follow[block.kind](self._read(block.text))
            except BaseException as e:
                e.add_note(f"at {block.place}")
                raise

    def json(self, block: Block) -> Any:
        """A JSON block with its words replaced."""
        return json.loads(self._read(block.text))

    def status(self, *, host: str = "127.0.0.1", key: str = "") -> int:
        """How the server answers a client's first request."""
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        headers = {"host": f"{host}:{self.port}", "content-type": "application/json"}
        headers |= {"accept": "application/json, text/event-stream"}
        headers |= {"authorization": f"Bearer {key}"} if key else {}
        return self._request("POST", "/mcp", body, headers)

    def _read(self, text: str) -> str:
        for word, meaning in self.words.items():
            text = text.replace(word, meaning)
        return text

    # -- commands ---------------------------------------------------------------------------------------------------

    def _type(self, text: str) -> None:
        if _SERVES.search(text):
            self._serve(text)
        else:
            self.said[text.strip()] = self._run(["sh", "-euc", text], dry=text.strip() in _DRY_RUN)

    def _run(self, command: list[str], *, dry: bool = False) -> str:
        env = {**self._env, **({"MAKEFLAGS": "n"} if dry else {})}
        done = subprocess.run(
            command,
            cwd=self.root,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _compare(self, text: str) -> None:
        """Commands after `$ `, each with what it prints; `…` stands for anything."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            said = self.said[command] = self._run(["sh", "-euc", command])
            pattern = re.sub(r"([*?[])", r"[\1]", expected.strip()).replace("…", "*")
            assert fnmatch.fnmatchcase(said.strip(), pattern), f"{command} printed\n{said}\nand not\n{expected}"

    def _serve(self, text: str) -> None:
        self._stop()
        text = re.sub(r"(mcp-edge serve)\b", rf"\1 --port {self.port}", text)
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                ["sh", "-euc", text],
                cwd=self.root,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _DEADLINE_S
        while self._request("GET", "/readyz") != 200:
            assert self._server.poll() is None, f"{text} ended with {self._server.returncode}\n{self.log}"
            assert time.monotonic() < deadline, f"{text} does not serve\n{self.log}"
            time.sleep(0.02)  # a poll under a deadline: nothing announces readiness from outside

    def _stop(self) -> None:
        """What Ctrl-C does in a terminal."""
        server, self._server = self._server, None
        if server is None:
            return
        deadline = time.monotonic() + _DEADLINE_S
        with suppress(ProcessLookupError):  # raised once the whole group is gone: the port is free then
            os.killpg(server.pid, signal.SIGINT)
            while time.monotonic() < deadline:
                server.poll()
                os.killpg(server.pid, 0)
                time.sleep(0.02)
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            raise AssertionError(f"Ctrl-C does not end it\n{self.log}")
        assert not TRACEBACK.search(self.log), self.log

    def _request(self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE_S)
        try:
            connection.request(method, path, body, headers or {})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    # -- files ------------------------------------------------------------------------------------------------------

    def _write_or_run(self, text: str) -> None:
        """A block that begins with a comment of its path is that file; any other is a program."""
        named = re.match(r"# ((?:src|tests)/\S+\.py)\n", text)
        if named:
            (self.root / named[1]).write_text(text, encoding="utf-8")
        else:
            self.said[text.strip()] = self._run([".venv/bin/python", "-W", "error", "-c", text])

    def _apply(self, text: str) -> None:
        """A diff of one file. As with `git apply`, a hunk is found by its lines, wherever they are by now."""
        head, *hunks = re.split(r"^@@.*\n", text, flags=re.MULTILINE)
        path = self.root / re.findall(r"^\+\+\+ b/(.+)$", head, re.MULTILINE)[0]
        code = path.read_text(encoding="utf-8")
        for hunk in hunks:
            lines = [line if line != "\n" else " \n" for line in hunk.splitlines(keepends=True)]
            before = "".join(line[1:] for line in lines if line[0] != "+")
            after = "".join(line[1:] for line in lines if line[0] != "-")
            assert code.count(before) == 1, f"{path} does not have once:\n{before}"
            code = code.replace(before, after)
        path.write_text(code, encoding="utf-8")
