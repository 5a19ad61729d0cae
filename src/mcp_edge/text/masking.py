"""What of an option's value may be shown: no secret, wherever in a URL or in whose place it stands. Pure."""

from __future__ import annotations

import re

_SHORT_CHARS = 24
_USER = re.compile(r"(?<=//).*@", re.DOTALL)
_QUERY = re.compile(r"\?.*", re.DOTALL)


def masked_url(text: str) -> str:
    """A URL without its user, password and query; any other text as it is.

    All up to the last @ is hidden, because a password that nobody has encoded may have slashes in it.
    """
    return _QUERY.sub("?…", _USER.sub("…@", text)) if "//" in text else text


def short_name(name: str) -> str:
    """A user's name: the beginning of a long one, which may be a token whose place was mixed up with the name."""
    return name if len(name) <= _SHORT_CHARS else f"{name[:8]}…"
