"""The server's key ring: seals what is stored or handed out. Pure but for the randomness of a nonce.

`MCP_SECRET_KEYS=new,old`: the first key seals, every key opens, so a key is replaced without logging anybody out.
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
    """AES-256-GCM under keys derived from the ring for each purpose (NIST SP 800-108, HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[str]) -> None:
        roots = [sha256(b"mcp-edge/seal/v1:" + key.encode()).digest() for key in keys]
        self._roots = {sha256(root).digest()[:_ID_BYTES]: root for root in roots}
        self._first = sha256(roots[0]).digest()[:_ID_BYTES]

    def seal(self, purpose: str, data: bytes, *, context: str = "", secret: bytes = b"") -> bytes:
        """`data`, readable only for the same `purpose` and `context`, and only with `secret`, which the ring's keys
        are mixed with: what is sealed with a token as its secret needs the token and the ring."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = AESGCM(self._derive(self._roots[self._first], purpose, secret))
        return _FORMAT + self._first + nonce + cipher.encrypt(nonce, data, f"{purpose}|{context}".encode())

    def open(self, purpose: str, sealed: bytes, *, context: str = "", secret: bytes = b"") -> bytes | None:
        """What was sealed, or None: altered, sealed for something else, or under a key that is gone."""
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
        """64 bits in hex that only the ring can make for `text`: what lacks them costs no look into a store. They
        authorize nothing."""
        return self._tag(self._roots[self._first], purpose, text)

    def tagged(self, purpose: str, text: bytes, tag: bytes) -> bool:
        """Whether a key of the ring has made `tag` for `text`."""
        return any(hmac.compare_digest(self._tag(root, purpose, text), tag) for root in self._roots.values())

    @staticmethod
    def _tag(root: bytes, purpose: str, text: bytes) -> bytes:
        return hmac.digest(root, b"tag|" + purpose.encode() + b"\0" + text, "sha256")[:8].hex().encode()

    @staticmethod
    def _derive(root: bytes, purpose: str, secret: bytes) -> bytes:
        return hmac.digest(root, purpose.encode() + b"\0" + secret, "sha256")
