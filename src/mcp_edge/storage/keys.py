"""Keys as every adapter reads them: what may be one, and which range of the key order a prefix covers. No I/O."""

from __future__ import annotations

MAX_KEY_BYTES = 512
_LAST = 0x10FFFF
_BEFORE_SURROGATES, _AFTER_SURROGATES = 0xD7FF, 0xE000


def checked(key: str) -> str:
    """`key` itself.

    Raises:
        ValueError: it is empty, longer than 512 bytes of UTF-8, no valid Unicode, or a name that URLs take for a folder
            (Cloudflare's KV refuses those).
    """
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        raise ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes, not {len(key.encode())}")
    if key in (".", ".."):
        raise ValueError(f"a key has another name than {key!r}")
    return key


def span(prefix: str, after: str) -> tuple[str, str | None]:
    """The keys that start with `prefix` and are greater than `after`, as a range [first, end).

    None is the end of all keys. Text compared by code points is in the order of its UTF-8 bytes.

    Raises:
        ValueError: one of the two is no valid Unicode.
    """
    (prefix + after).encode()
    # The least text that is greater than `after` is `after` and one NUL.
    return max(prefix, after + "\0") if after else prefix, _beyond(prefix)


def _beyond(prefix: str) -> str | None:
    """The least text that is greater than every text that starts with `prefix`, or None."""
    stem = prefix.rstrip(chr(_LAST))
    if not stem:
        return None
    last = ord(stem[-1])
    return stem[:-1] + chr(_AFTER_SURROGATES if last == _BEFORE_SURROGATES else last + 1)
