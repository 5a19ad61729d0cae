# ruff: noqa: S608 - what is joined to a statement here is another constant of this module

"""The SQL that SQLite and D1 share, and how keys become its parameters. It runs nothing.

Every statement is one transaction. Parameters are `?`, in the order that each constant names; times are epoch seconds.
A record without end has no `expires_at`, or one that is too far away to come.
"""

from __future__ import annotations

from mcp_edge.storage.keys import MAX_KEY_BYTES, span

# `value` comes last: a scan that only looks at the columns before it never touches a large value's overflow pages.
TABLES = (
    "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY NOT NULL, expires_at REAL, value BLOB NOT NULL)"
    " WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS atomics (key TEXT PRIMARY KEY NOT NULL, expires_at REAL, version INTEGER NOT NULL,"
    " nonce TEXT NOT NULL, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS atomics_by_expiry ON atomics (expires_at) WHERE expires_at IS NOT NULL",
)

_LIVE = "(expires_at IS NULL OR expires_at > ?)"
_PAGE = f"key >= ? AND key < ? AND {_LIVE} ORDER BY key LIMIT ?"

GET_RECORD = f"SELECT value FROM records WHERE key = ? AND {_LIVE}"
"""key, now"""
PUT_RECORD = (
    "INSERT INTO records (key, expires_at, value) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at, value = excluded.value"
)
"""key, expires_at, value"""
DELETE_RECORD = "DELETE FROM records WHERE key = ?"
"""key"""
LIST_RECORDS = f"SELECT key FROM records WHERE {_PAGE}"
"""first and end of `bounds`, now, limit"""
SWEEP_RECORDS = "DELETE FROM records WHERE key IN (SELECT key FROM records WHERE expires_at <= ? LIMIT ?)"
"""now, limit"""

GET_ATOMIC = f"SELECT value, version FROM atomics WHERE key = ? AND {_LIVE}"
"""key, now"""
CREATE_ATOMIC = (
    "INSERT INTO atomics (key, expires_at, version, nonce, value) VALUES (?, ?, 1, ?, ?)"
    " ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at, version = 1, nonce = excluded.nonce,"
    " value = excluded.value WHERE expires_at <= ? OR (version = 1 AND nonce = excluded.nonce)"
)
"""key, expires_at, nonce, value, now"""
SWAP_ATOMIC = (
    "UPDATE atomics SET expires_at = ?, version = ?, nonce = ?, value = ? WHERE key = ?"
    f" AND (version = ? OR (version = ? AND nonce = ?)) AND {_LIVE}"
)
"""expires_at, new version, nonce, value, key, version, new version, nonce, now"""
DELETE_ATOMIC = "DELETE FROM atomics WHERE key = ?"
"""key"""
READ_ATOMICS = f"SELECT key, value, version FROM atomics WHERE {_PAGE}"
"""first and end of `bounds`, now, limit"""
SWEEP_ATOMICS = "DELETE FROM atomics WHERE key IN (SELECT key FROM atomics WHERE expires_at <= ? LIMIT ?)"
"""now, limit"""

_BEYOND_ALL = "\U0010ffff" * (MAX_KEY_BYTES // 4 + 1)


def bounds(prefix: str, after: str) -> tuple[str, str]:
    """The keys that start with `prefix` and are greater than `after`, as a range [first, end).

    Raises:
        ValueError: one of the two is no valid Unicode.
    """
    first, end = span(prefix, after)
    return first, _BEYOND_ALL if end is None else end
