"""Lines to the Worker's console at their own level: what Python writes to standard error would all be errors there."""

from __future__ import annotations

import logging
from typing import Any

import js

from mcp_edge.telemetry.call_lines import LEVELS, Format, LineFormatter, LineSink
from mcp_edge.telemetry.root_logger import quiet

_TIME = "2026-07-28T12:00:00.250Z"
_IN_JSON = len(f'{{"time":"{_TIME}","level":"')
_IN_TEXT = len(f"{_TIME} ")


class Console:
    """The sink of `LineSink`. A line is one call of `console.log`, `warn` or `error`, which is what makes its level."""

    def write(self, data: bytes) -> None:
        """Write one line."""
        line = data.decode().rstrip("\n")
        _method(_level_of(line))(line)


class ConsoleHandler(logging.Handler):
    """Log records on the console."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        _method(record.levelno)(self.format(record))


def configure(form: Format, level: str) -> LineSink:
    """Send all log records to the console; the returned sink does so with calls."""
    handler = ConsoleHandler()
    handler.setFormatter(LineFormatter(form))
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)
    quiet(level)
    return LineSink(Console(), form, level=level)


def _level_of(line: str) -> int:
    """The level that `LineSink` wrote, behind the time. What comes after it is what a client has sent."""
    at = _IN_JSON if line.startswith("{") else _IN_TEXT
    return next((LEVELS[level] for level in ("error", "warning") if line.startswith(level, at)), logging.INFO)


def _method(level: int) -> Any:
    if level >= logging.ERROR:
        return js.console.error
    if level >= logging.WARNING:
        return js.console.warn
    return js.console.log if level >= logging.INFO else js.console.debug
