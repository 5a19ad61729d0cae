"""AES-GCM over `node:crypto`."""

from __future__ import annotations

import _node_crypto
from pyodide.ffi import JsException, to_js

from cryptography.exceptions import InvalidTag


class AESGCM:
    """AES-GCM with a 16 byte tag behind the ciphertext."""

    def __init__(self, key: bytes) -> None:
        self._key = to_js(bytes(key))

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        return _node_crypto.seal(self._key, to_js(nonce), to_js(data), to_js(associated_data or b"")).to_bytes()

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        try:
            opened = _node_crypto.open(self._key, to_js(nonce), to_js(data), to_js(associated_data or b""))
        except JsException as e:
            raise InvalidTag from e
        return opened.to_bytes()
