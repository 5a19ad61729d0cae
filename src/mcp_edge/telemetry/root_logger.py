"""The process's logging: the records of all libraries in the form of the call lines. It owns the root logger."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable

from mcp_edge.settings import Settings
from mcp_edge.telemetry.call_lines import LEVELS, Format, LineFormatter

logger = logging.getLogger(__name__)

_QUIET = ("mcp", "mangum", "httpx", "httpcore", "botocore", "asyncio")
"""Loggers whose INFO says something for each request; the call line says it once."""
_NEVER_DEBUG = ("botocore.auth", "botocore.endpoint", "botocore.httpsession", "httpcore")
"""Loggers whose DEBUG holds headers: session tokens, cookies, signatures."""


def tell_unknown(env: Iterable[str]) -> None:
    """Log each name that looks like an option and is none; `env` are the names of the host's variables."""
    for name in Settings.unknown(env):
        logger.warning("%s is no option of mcp-edge; `mcp-edge settings` lists them", name)


def standard_error() -> io.FileIO:
    """Standard error without a buffer: one write per line, whole lines from several processes."""
    return io.FileIO(sys.stderr.fileno(), "wb", closefd=False)


def configure(sink: io.FileIO, form: Format, level: str) -> None:
    """Send all log records to `sink`. Call it before the server is made: the SDK leaves a root with a handler alone."""
    stream = io.TextIOWrapper(sink, encoding="utf-8", errors="backslashreplace", write_through=True)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(form))
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)
    quiet(level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(LEVELS[level])


def quiet(level: str) -> None:
    """Keep the libraries' lines for each request out, unless `level` is `debug`."""
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else max(LEVELS[level], logging.WARNING))
    for name in _NEVER_DEBUG:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.INFO))
