"""HTML whose every value is escaped: the templates are constants, what is put into them never is markup by accident.

Pure. It knows no page.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from html import escape
from typing import LiteralString
from urllib.parse import urlsplit

_QUOTES = str.maketrans(dict.fromkeys('"\u201c\u201d\u201e\u201f\u00ab\u00bb', "'"))
"""Characters that would end the quotation marks around a name, so that its rest would look like our words."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a reader does not see, or that turn the direction of what follows (Trojan Source)."""
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Letters and marks that are drawn as nothing (Default_Ignorable_Code_Point, and the empty Braille cell)."""
_MARKS = frozenset({"Mn", "Me"})
_MOST_MARKS = 4
"""Marks on one letter: no script needs more, and a pile of them covers the lines above and below."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


EMPTY = Html("")


def html(template: LiteralString, /, **values: object) -> Html:
    """`template` with its `{names}` filled in, each value escaped unless it is `Html`; None is nothing."""
    return Html(template.format(**{name: _escaped(value) for name, value in values.items()}))


def joined(parts: Iterable[Html]) -> Html:
    """The parts, one after the other."""
    return Html("".join(parts))


def link(url: str, text: str) -> Html:
    """A link to a page elsewhere; the bare text when `url` is not a whole http(s) URL."""
    if not is_web_url(url):
        return html("{text}", text=text)
    return html('<a href="{url}" rel="noopener noreferrer nofollow">{text}</a>', url=url, text=text)


def is_web_url(url: str) -> bool:
    """Whether `url` is an http(s) URL with a host, and nothing that a browser would read in another way."""
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def plain(text: str, max_chars: int = 80) -> str:
    """A stranger's text on one line of at most `max_chars`, without characters that hide or turn the text after it."""
    one_line = " ".join("".join(_seen(text)).split())
    return one_line if len(one_line) <= max_chars else one_line[: max_chars - 1].rstrip() + "…"


def _seen(text: str) -> Iterator[str]:
    """The characters of `text` that a reader sees, and a space for each that parts words."""
    marks = 0
    for c in text:
        category = unicodedata.category(c)
        marks = marks + 1 if category in _MARKS else 0
        if c.isspace():
            yield " "
        elif category not in _UNSEEN and c not in _BLANK and marks <= _MOST_MARKS:
            yield c


def app_name(text: str) -> str:
    """What an app calls itself, to stand between quotation marks."""
    return plain(text).translate(_QUOTES) or "An unnamed app"


def _escaped(value: object) -> str:
    if isinstance(value, Html):
        return value
    return "" if value is None else escape(str(value), quote=True)
