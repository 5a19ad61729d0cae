"""What codes and tokens look like: a prefix that secret scanners know, the grant they belong to, a secret. Pure.

No user or client is in them. Only SHA-256 of them is stored, and of the grant's id, which finds the record.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from mcp_edge.text.hashing import long_hash

ACCESS, CODE, REFRESH = "mea_", "mec_", "mer_"
_ID, _SECRET = "[0-9a-f]{32}", "[0-9a-f]{64}"
_FORM = re.compile(f"(?:{CODE}({_ID})({_SECRET})|{REFRESH}({_ID})({_ID})({_SECRET}))")
_ACCESS = re.compile(f"({ACCESS}{_SECRET})([0-9a-f]{{16}})".encode())


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code, taken apart."""

    grant_id: str
    secret: str

    def __str__(self) -> str:
        return CODE + self.grant_id + self.secret


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, taken apart. `family` is in all of a grant's refresh tokens and nowhere else: who has it without
    the secret of the present one holds an older one, and has not merely seen a code."""

    grant_id: str
    family: str
    secret: str

    def __str__(self) -> str:
        return REFRESH + self.grant_id + self.family + self.secret


def parse(text: str) -> Code | RefreshToken | None:
    """What `text` is, if it is one of the two."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    return Code(found[1], found[2]) if found[1] else RefreshToken(found[3], found[4], found[5])


def parse_access_token(token: bytes) -> tuple[bytes, bytes] | None:
    """An access token's secret part and its tag (`KeyRing.tag`), if it can be one of ours."""
    found = _ACCESS.fullmatch(token)
    return None if found is None else (found[1], found[2])


def new_id() -> str:
    """128 random bits."""
    return secrets.token_hex(16)


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


def digest(text: str) -> str:
    """SHA-256 in hex: under this a secret is stored."""
    return long_hash(text)
