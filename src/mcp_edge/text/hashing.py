"""The hash under which a secret or a person is stored. Pure."""

from __future__ import annotations

from hashlib import sha256


def short_hash(text: str) -> str:
    """The first 128 bits of SHA-256 in hex: under this a secret id is stored, never under itself."""
    return long_hash(text)[:32]


def long_hash(text: str) -> str:
    """SHA-256 in hex. A lone surrogate, which a decoded header may have, is hashed like any other character."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
