"""Processes that a test starts, and what they print. It knows no protocol and no command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Exception ignored in|never awaited")
_T = TypeVar("_T")


class Processes:
    """Named processes while the context is open. A traceback in a log, or an exit unasked, fails the test.

    Subclasses start them in `_open`.
    """

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._logs = Path()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._asked: set[str] = set()
        """Those that were asked to end."""

    def __enter__(self) -> Self:
        self._logs = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="processes-")))
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            faults = "\n".join(self._faults())
        finally:
            self._close()
        if faults and error is not None:
            error.add_note(faults)
        elif faults:
            raise AssertionError(faults)

    def _open(self) -> None:
        """Start what is needed; whatever `_exit` is given is closed after the processes have ended."""
        raise NotImplementedError

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End one process and those that it has started; it is gone on return."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def _start(
        self,
        name: str,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        """Start a process, or start it again."""
        with (self._logs / f"{name}.log").open("ab") as log, (self._logs / f"{name}.err").open("ab") as errors:
            self._running[name] = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=stdin, stdout=log, stderr=errors, start_new_session=True
            )
        self._asked.discard(name)

    def _awaited(self, name: str, found: Callable[[], _T | None], within_s: float) -> _T:
        """What `found` finds, as soon as it is something.

        Raises:
            AssertionError: the process has ended, or `within_s` seconds are over.
        """
        deadline = time.monotonic() + within_s
        while (value := found()) is None:
            code = self._running[name].poll()
            if code is not None or time.monotonic() > deadline:
                what = f"exited with {code}" if code is not None else f"was not ready after {within_s:.0f} s"
                raise AssertionError(f"{name} {what}\n{self._printed(name)}")
            time.sleep(0.02)  # a poll under a deadline: nothing announces readiness from outside
        return value

    def _log(self, name: str, kind: str = "log") -> str:
        """What the process has printed so far, all its lives together: its output, or its errors (`err`)."""
        return (self._logs / f"{name}.{kind}").read_text(errors="replace")

    def _printed(self, name: str) -> str:
        return self._log(name) + self._log(name, "err")

    def _faults(self) -> list[str]:
        found: list[str] = []
        for name, process in self._running.items():
            printed = self._printed(name)
            if TRACEBACK.search(printed):
                found.append(f"{name} printed a traceback:\n{printed[-8000:]}")
            if name not in self._asked and process.poll() is not None:
                found.append(f"{name} exited unasked with {process.returncode}:\n{printed[-8000:]}")
        return found

    def _close(self) -> None:
        for process in reversed(list(self._running.values())):
            self._end(process)
        self._exit.close()
