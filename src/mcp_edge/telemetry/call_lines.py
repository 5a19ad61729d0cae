"""One line for each call and each log record, as text or JSON, in one write. It knows no wire and opens no file."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote
from typing import Any, Literal, Protocol

from mcp_edge import audit
from mcp_edge.platform import CallEvent
from mcp_edge.text.log_text import (
    MAX_CHARS,
    MAX_MESSAGE_CHARS,
    SPECIAL,
    bounded_trace,
    clipped,
    indented,
    printable,
    quoted,
)

Format = Literal["text", "json"]

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The levels of `MCP_LOG_LEVEL`."""

_KNOWN_LINES = 512
_INTERNAL_ERROR = "-32603"
_UNNAMED = SPECIAL | {"="}
"""What has to be quoted where no name stands before it: it could pass for a field with one."""
_TEXT = (
    "{time} {level:<7} {wire:<10} {what} {status} {duration_ms:.1f} ms "
    "user={user} client={client} session={session} request={request_id}\n"
)


class Sink(Protocol):
    """Where bytes go: an unbuffered file, so that a line is one write and processes do not cut each other's lines."""

    def write(self, data: bytes, /) -> object:
        """Write one line.

        Raises:
            OSError: nobody reads it any more.
        """
        ...


class Clock:
    """UTC time as ISO 8601 with milliseconds. The part down to the second is formatted once per second."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._second = -1
        self._prefix = ""

    def stamp(self, at: float | None = None) -> str:
        """`at`, or now, such as `2026-07-28T12:00:00.250Z`."""
        now = self._now() if at is None else at
        second = int(now)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{int((now - second) * 1000):03d}Z"


class LineSink:
    """`platform.Telemetry` that writes a line for each call. A sink that fails loses the line, never the call."""

    def __init__(self, sink: Sink, form: Format, *, level: str = "info", now: Callable[[], float] = time.time) -> None:
        self._write = sink.write
        self._stamp = Clock(now).stamp
        self._line = self._json if form == "json" else self._text
        self._least = LEVELS[level]
        self._said: dict[tuple[str, ...], str] = {}
        """What the lines of one tool and client have in common: a pure function of the event, bounded."""

    def call(self, event: CallEvent) -> None:
        """Write one line, unless its level is below the configured one."""
        level = _level(event.status)
        if LEVELS[level] >= self._least:
            try:  # noqa: SIM105  # a context manager costs a fifth of the line
                self._write(self._line(event, level))
            except OSError:
                pass  # the log's reader is gone, and there is nobody else to tell

    def _json(self, e: CallEvent, level: str) -> bytes:
        # Written out because it is on the hot path, and cheaper than a dict and its serialization. ASCII, so that no
        # separator and no lone surrogate of a client's text needs a thought.
        said = (level, e.wire, e.method, e.name, e.status, e.session, e.user, e.client, e.app)
        known = self._said.get(said)
        if known is None:
            known = (
                f'"level":"{level}","event":"call","wire":{_field(e.wire)},"method":{_field(e.method)},'
                f'"name":{_field(e.name)},"status":{_field(e.status)},"session":{_field(e.session)},'
                f'"user":{_field(e.user)},"client":{_field(e.client)}'
            )
            if e.app:
                known += f',"app":{_field(e.app)}'
            if len(self._said) >= _KNOWN_LINES:
                self._said.clear()
            self._said[said] = known
        request_id = e.request_id if len(e.request_id) <= MAX_CHARS else clipped(e.request_id)  # no call for most
        return (
            f'{{"time":"{self._stamp()}",{known},"request_id":{quote(request_id)},"duration_ms":{e.duration_ms:.3f}}}\n'
        ).encode()

    def _text(self, event: CallEvent, level: str) -> bytes:
        line = _TEXT.format(
            time=self._stamp(),
            level=level,
            wire=_word(event.wire, _UNNAMED),
            what=f"{_word(event.method, _UNNAMED)} {_word(event.name, _UNNAMED)}".rstrip().ljust(28),
            status=_word(event.status, _UNNAMED).ljust(10),
            duration_ms=event.duration_ms,
            user=_word(event.user),
            client=_word(event.client),
            session=_word(event.session),
            request_id=_word(event.request_id),
        )
        return line.encode()


class LineFormatter(logging.Formatter):
    """A log record in the form of the call lines, its traceback included."""

    def __init__(self, form: Format) -> None:
        super().__init__()
        self._json = form == "json"
        self._clock = Clock()

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON, or one line of text followed by its traceback, whose lines have a margin."""
        stamp, level = self._clock.stamp(record.created), record.levelname.lower()
        message = clipped(record.getMessage().strip(), MAX_MESSAGE_CHARS)
        trace = bounded_trace(self.formatException(record.exc_info)) if record.exc_info else ""
        if not self._json:
            line = f"{stamp} {_word(level):<7} {_word(record.name)}: {printable(message)}"
            return f"{line}\n{indented(trace)}" if trace else line
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        if fields is not None and record.name == audit.logger.name:  # its message says the same in text
            body = {"time": stamp, "level": level, "event": "decision", **fields}
        else:
            body = {"time": stamp, "level": level, "event": "log", "logger": clipped(record.name), "message": message}
        if trace:
            body["traceback"] = trace
        return json.dumps(body)


def _field(value: str) -> str:
    """A member's value in a line of JSON."""
    return quote(clipped(value))


@lru_cache(_KNOWN_LINES)
def _word(value: str, special: frozenset[str] = SPECIAL) -> str:
    """A field's value in a line of text."""
    return quoted(clipped(value), special)


def _level(status: str) -> str:
    if status == _INTERNAL_ERROR:
        return "error"
    return "warning" if status == "interrupted" else "info"
