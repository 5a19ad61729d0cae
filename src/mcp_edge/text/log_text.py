"""What strangers wrote, as it may stand in the log: bounded, and one word or one line whatever is in it. Pure."""

from __future__ import annotations

MAX_CHARS = 200
"""Most characters of one field of a line."""
MAX_MESSAGE_CHARS = 2000
MAX_TRACE_CHARS = 16_000
_CUT = "…"
_GAP = "\n… cut …\n"
_MARGIN = "  | "
"""Before each line of a traceback, so that none passes for a line of the log."""


def clipped(text: str, most: int = MAX_CHARS) -> str:
    """`text`, or its beginning and a mark: at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + _CUT


def printable(text: str) -> str:
    """`text` with control characters, marks of direction and lone surrogates escaped: it cannot forge a line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


SPECIAL = frozenset(" '\"\\")
"""What ends a word of a line, or changes how it is read."""


def quoted(value: str, special: frozenset[str] = SPECIAL) -> str:
    """`value` as one word of one line, as Python writes it where it holds something `special` or not printable.

    Readers other than Python's know no backslash between single quotes: a value with quotes of both kinds is in double
    ones, which all of them read alike.
    """
    if value.isprintable() and special.isdisjoint(value):
        return value
    written = repr(value)
    if "'" in value and '"' in value:
        return '"' + written[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    return written


def bounded_trace(trace: str) -> str:
    """A traceback without its middle where it is long: its frames come first, what was raised last."""
    if len(trace) <= MAX_TRACE_CHARS:
        return trace
    half = (MAX_TRACE_CHARS - len(_GAP)) // 2
    return trace[:half] + _GAP + trace[-half:]


def indented(trace: str) -> str:
    """The lines of a traceback, each behind a margin. What an exception says may have lines of its own."""
    return "\n".join(_MARGIN + printable(line) for line in trace.split("\n"))
