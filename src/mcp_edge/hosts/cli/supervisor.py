"""Several processes on one listening socket: each one that dies is replaced, and all of them drain together.

It serves nothing itself and imports no server: a worker is the same command line again, with the socket's descriptor.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from mcp_edge.hosts.cli.drain import HURRY, grace_s
from mcp_edge.hosts.cli.main import EXIT_REFUSED

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_TICK_S = 0.5
_YOUNG_S = 1.0
"""A worker that dies younger than this is replaced only this long after its start: no loop at full speed."""
_MARGIN_S = 5.0
"""Workers end within drain and grace; after this much more they are killed."""


class Inbox:
    """The signals of this process, taken one after the other; one that comes between two looks is not lost."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        for number in _SIGNALS:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def take(self, timeout_s: float) -> int | None:
        """The next signal's number, or None when none comes in time."""
        ready, _, _ = select.select([self._read], [], [], timeout_s)
        return os.read(self._read, 1)[0] if ready else None

    def close(self) -> None:
        """Back to the default actions."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)


def _noted(number: int, frame: object) -> None:
    """The wake-up descriptor has it."""


class Supervisor:
    """Starts `count` workers and keeps that many. `run` returns when all have ended."""

    def __init__(self, argv: Sequence[str], sock: socket.socket, *, count: int, drain_s: float) -> None:
        """`argv` is the command line of `mcp-edge` that a worker repeats; `sock` is closed by `run`."""
        self._argv = list(argv)
        self._sock = sock
        self._count = count
        self._patience_s = drain_s + grace_s(drain_s) + _MARGIN_S
        self._born: dict[subprocess.Popen[bytes], float] = {}
        self.not_before = 0.0
        """No worker starts earlier, on the monotonic clock."""
        self._life, self._life_held = os.pipe()
        """Workers read it: its end of file says that this process is gone, even by SIGKILL."""

    def run(self) -> int:
        """Supervise until a signal comes or a worker refuses its settings. The exit code of this process."""
        self._inbox = Inbox()
        try:
            return self._supervise()
        finally:
            self._inbox.close()
            self._sock.close()
            os.close(self._life_held)
            os.close(self._life)

    def on_death(self, code: int, age_s: float) -> bool:
        """A worker ended unasked. True when it makes no sense to start another one."""
        if age_s < _YOUNG_S:
            self.not_before = time.monotonic() + _YOUNG_S - age_s
        return code == EXIT_REFUSED

    def on_tick(self) -> None:
        """Called about twice a second, and after each signal."""

    def replace(self) -> None:
        """End the workers now; new ones start at once."""
        self._signal(HURRY)
        self._await_end()
        self.not_before = 0.0

    def _supervise(self) -> int:
        while True:
            while len(self._born) < self._count and time.monotonic() >= self.not_before:
                self._born[self._start()] = time.monotonic()
            received = self._inbox.take(_TICK_S)
            if received not in (None, signal.SIGCHLD):
                self._stop(signal.SIGTERM if received == signal.SIGTERM else HURRY)
                return 0
            for worker, age_s in self._reap():
                log.warning("worker %d ended with %d", worker.pid, worker.returncode)
                if self.on_death(worker.returncode, age_s):
                    self._stop(HURRY)
                    return worker.returncode
            self.on_tick()

    def _start(self) -> subprocess.Popen[bytes]:
        shared = (self._sock.fileno(), self._life)
        descriptors = ["--listen-fd", str(shared[0]), "--parent-fd", str(shared[1])]
        command = [sys.executable, "-P", "-m", "mcp_edge.hosts.cli", *self._argv, *descriptors]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the worker takes them when it can handle them
        try:
            return subprocess.Popen(command, pass_fds=shared)  # noqa: S603  # our own command line again
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _reap(self) -> list[tuple[subprocess.Popen[bytes], float]]:
        ended = [worker for worker in self._born if worker.poll() is not None]
        return [(worker, time.monotonic() - self._born.pop(worker)) for worker in ended]

    def _stop(self, sig: signal.Signals) -> None:
        # While this copy were open, connections would queue on it after the last worker had stopped listening.
        self._sock.close()
        self._signal(sig)
        self._await_end()

    def _signal(self, sig: signal.Signals) -> None:
        for worker in self._born:
            worker.send_signal(sig)

    def _await_end(self) -> None:
        """Wait for all workers; a further signal hurries them, the end of the patience kills them."""
        deadline = time.monotonic() + self._patience_s
        while self._born:
            if self._inbox.take(_TICK_S) not in (None, signal.SIGCHLD):
                self._signal(HURRY)
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
            self._reap()
