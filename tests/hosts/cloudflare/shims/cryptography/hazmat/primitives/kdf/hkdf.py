"""HKDF over `node:crypto`."""

from __future__ import annotations

from typing import Any

import _node_crypto
from pyodide.ffi import to_js


class HKDF:
    """HKDF (RFC 5869) with one derivation."""

    def __init__(self, algorithm: Any, length: int, salt: bytes | None, info: bytes | None) -> None:
        self._args = (algorithm.name, to_js(salt or b""), to_js(info or b""), length)

    def derive(self, key_material: bytes) -> bytes:
        name, salt, info, length = self._args
        return _node_crypto.derive(name, to_js(bytes(key_material)), salt, info, length).to_bytes()
