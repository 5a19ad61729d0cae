"""`--reload`: one worker that is replaced when a Python file under the current folder changes. For development only."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcp_edge.hosts.cli.supervisor import Supervisor

log = logging.getLogger(__name__)

_UNWATCHED = frozenset({"node_modules", "__pycache__", "build", "dist"})


class Reloader(Supervisor):
    """A supervisor of one worker. A worker that fails stays down until a file changes."""

    def __init__(self, argv: Sequence[str], sock: socket.socket, folder: Path) -> None:
        super().__init__(argv, sock, count=1, drain_s=0)
        self._folder = folder
        self._seen = versions(folder)

    def on_death(self, code: int, age_s: float) -> bool:
        """Wait for a change: the same code would fail again."""
        del code, age_s
        log.warning("waiting for a change under %s", self._folder)
        self.not_before = math.inf
        return False

    def on_tick(self) -> None:
        """Replace the worker when a file came, went or changed."""
        now = versions(self._folder)
        if now != self._seen:
            changed = sorted(str(path) for path, _ in now.items() ^ self._seen.items())
            log.info("changed: %s", changed[0])
            self._seen = now
            self.replace()


def versions(folder: Path) -> Mapping[Path, int]:
    """Every Python file under `folder` with its time of change, hidden folders and environments left out."""
    found: dict[Path, int] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in _UNWATCHED]
        for name in files:
            path = Path(parent, name)
            if path.suffix == ".py":
                try:
                    found[path] = path.stat().st_mtime_ns
                except FileNotFoundError:
                    continue  # removed while we looked: the next look tells
    return found
