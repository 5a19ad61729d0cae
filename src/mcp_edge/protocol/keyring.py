"""The server's key ring, which seals what is stored or handed out. Pure but for the randomness of a nonce.

With `MCP_SECRET_KEYS=new,old` the first key seals and every key opens, so replacing a key logs nobody out.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_FORMAT = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = len(_FORMAT) + _ID_BYTES + _NONCE_BYTES


class KeyRing:
    """AES-256-GCM with a key for each purpose, derived from the ring's keys (NIST SP 800-108, HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[str]) -> None:
        roots = [sha256(b"mcp-edge/seal/v1:" + key.encode()).digest() for key in keys]
        self._roots = {sha256(root).digest()[:_ID_BYTES]: root for root in roots}
        self._first = sha256(roots[0]).digest()[:_ID_BYTES]

    def seal(self, purpose: str, data: bytes, *, context: str = "", secret: bytes = b"") -> bytes:
        """`data`, which opens for the same `purpose`, `context` and `secret` only. The secret is mixed into the key, so
        what was sealed with a token as its secret opens with the token and the ring."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = AESGCM(self._derive(self._roots[self._first], purpose, secret))
        return _FORMAT + self._first + nonce + cipher.encrypt(nonce, data, f"{purpose}|{context}".encode())

    def open(self, purpose: str, sealed: bytes, *, context: str = "", secret: bytes = b"") -> bytes | None:
        """What was sealed; None where it was altered, was sealed for something else, or its key is gone."""
        if len(sealed) <= _HEAD_BYTES or sealed[:1] != _FORMAT:
            return None
        root = self._roots.get(sealed[1 : 1 + _ID_BYTES])
        if root is None:
            return None
        cipher = AESGCM(self._derive(root, purpose, secret))
        try:
            return cipher.decrypt(sealed[5:_HEAD_BYTES], sealed[_HEAD_BYTES:], f"{purpose}|{context}".encode())
        except InvalidTag:
            return None

    def tag(self, purpose: str, text: bytes) -> bytes:
        """64 bits in hex digits that only the ring can make for `text`. A value with a wrong tag costs no look into a
        store. A tag authorizes nothing."""
        return self._tag(self._roots[self._first], purpose, text)

    def tagged(self, purpose: str, text: bytes, tag: bytes) -> bool:
        """Whether any key of the ring makes `tag` for `text`."""
        return any(hmac.compare_digest(self._tag(root, purpose, text), tag) for root in self._roots.values())

    @staticmethod
    def _tag(root: bytes, purpose: str, text: bytes) -> bytes:
        return hmac.digest(root, b"tag|" + purpose.encode() + b"\0" + text, "sha256")[:8].hex().encode()

    @staticmethod
    def _derive(root: bytes, purpose: str, secret: bytes) -> bytes:
        return hmac.digest(root, purpose.encode() + b"\0" + secret, "sha256")
