"""Unguessable ids and the keys that sign them. Pure: no store, no clock."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from hashlib import blake2b, sha256

_MAC_BYTES = 12
_MAX_SIGNED_CHARS = 256
"""Each text that was signed here is shorter."""


def mint() -> str:
    """128 bits of randomness as 32 hex digits."""
    return secrets.token_bytes(16).hex()


class Signer:
    """Signs texts with the first key of the key ring, and verifies them with every key.

    Each purpose has a label of its own, so a text that was signed for one purpose never passes for another.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = [sha256(b"mcp-edge/sign/v1:" + key).digest() for key in keys]

    def sign(self, label: str, text: str) -> str:
        """`text` with its MAC behind a dot."""
        return f"{text}.{self._mac(self._keys[0], label, text)}"

    def verify(self, label: str, signed: str) -> str | None:
        """The text that was signed; None where the MAC is missing or wrong."""
        text, dot, mac = signed.rpartition(".")
        if not dot or len(mac) != _MAC_BYTES * 2 or len(signed) > _MAX_SIGNED_CHARS or not signed.isascii():
            return None
        for key in self._keys:
            if hmac.compare_digest(self._mac(key, label, text), mac):
                return text
        return None

    @staticmethod
    def _mac(key: bytes, label: str, text: str) -> str:
        """Keyed BLAKE2b (RFC 7693), which needs no HMAC construction around it."""
        return blake2b(f"{label}:{text}".encode(), key=key, digest_size=_MAC_BYTES).hexdigest()
