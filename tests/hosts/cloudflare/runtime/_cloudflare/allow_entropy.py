"""How many calls for randomness an import may make: `_entropy` is the host's counter, which refuses the rest.

Unlike workerd, calls that are left over are no error: the shims of `cryptography` and `rpds` need none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import _entropy

EIO = 29
_urandom = os.urandom


@contextmanager
def allow_bad_entropy_calls(n: int) -> Iterator[None]:
    """Let `n` calls through, which get repeatable bytes as they would in a snapshot."""
    before, _entropy.allowed = _entropy.allowed, n
    try:
        yield
    finally:
        _entropy.allowed = before


def urandom(size: int) -> bytes:
    """`os.urandom`, refused during import with workerd's error."""
    if _entropy.importing and _entropy.allowed <= 0:
        raise OSError(EIO, "Randomness is not allowed while a Worker is starting")
    return _urandom(size)


os.urandom = urandom
