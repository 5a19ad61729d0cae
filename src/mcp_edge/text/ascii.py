"""Text as protocols compare it: only ASCII letters have case, only ASCII digits are digits, only space and tab are
white space.

Python's own `strip`, `lower` and `isdigit` know Unicode: of bytes read as Latin-1 `strip` takes A0 and 85 away, and
KELVIN SIGN becomes a k, so that what was sent as two texts would be one. Pure.
"""

from __future__ import annotations

from typing import AnyStr

_LOWER = {ord(capital): ord(capital) + 32 for capital in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def stripped(text: AnyStr) -> AnyStr:
    """`text` without the optional white space around it (OWS, RFC 9110 §5.6.3)."""
    return text.strip(" \t") if isinstance(text, str) else text.strip(b" \t")


def lowered(text: AnyStr) -> AnyStr:
    """`text` with A to Z in small letters, and nothing else changed."""
    if isinstance(text, str) and not text.isascii():
        return text.translate(_LOWER)
    return text.lower()


def digits(text: str | bytes) -> bool:
    """Whether `text` is one or more of 0 to 9: `int` takes it, and takes it for what everybody else does."""
    return text.isascii() and text.isdigit()


def listed(field: bytes) -> list[bytes]:
    """The elements of a list field that are not empty (RFC 9110 §5.6.1); none of them may hold a quoted comma."""
    return [element for part in field.split(b",") if (element := stripped(part))]


def media_type(field: bytes) -> bytes:
    """The media type of a Content-Type, in small letters and without its parameters (RFC 9110 §8.3.1)."""
    return lowered(stripped(field.partition(b";")[0]))
