"""The bytes of a Cookie field, read as browsers wrote them: a name is ours when every byte of it is. Pure.

Whoever reads more leniently than browsers do takes somebody else's cookie for ours: a sibling host may set any name but
those that begin with `__Host-` (RFC 6265bis §5.6). A byte A0 before it is white space to `str.strip()`, and part of the
name to every browser.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from mcp_edge.protocol.request import Header

_VALUE = re.compile(rb"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
"""What `new_value` makes: 256 bits in base64url, whose last character holds four of them."""
_SPACE = b" \t"
"""What browsers leave away around a name and a value, and nothing else."""


def new_value() -> str:
    """256 random bits as the value of a cookie."""
    return secrets.token_urlsafe(32)


def value(pairs: Sequence[Header], name: bytes) -> str | None:
    """The value of the one cookie of this name, if it is of the form that `new_value` gives it.

    Of several cookies of the name none counts: all but one are somebody else's work.
    """
    found: list[bytes] = []
    for header, field in pairs:  # HTTP/2 may split the field (RFC 9113 §8.2.3)
        if header == b"cookie":
            for pair in field.split(b";"):
                key, equals, content = pair.strip(_SPACE).partition(b"=")
                if equals and key == name:
                    found.append(content)
    return found[0].decode("ascii") if len(found) == 1 and _VALUE.fullmatch(found[0]) else None
