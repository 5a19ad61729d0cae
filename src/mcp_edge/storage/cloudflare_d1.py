"""Both ports on a D1 database of Cloudflare. It is given the binding; the SQL is that of SQLite.

Each call is one statement, `prepare(…).bind(…).raw()`: three calls into JavaScript and one conversion back. Values
cross as text, one character for each byte (Latin-1): D1 carries a blob as a JSON array of numbers, four times its size.
Statements go to the primary database, as long as nobody opens a session of D1's read replication: so what they read is
what was written.

A row of D1 holds 2 MB. A larger value is cut into pieces in a table of their own, written before the row that names
them; triggers remove the pieces of a row that is replaced or deleted. So a name is good for one attempt at writing a
row: the attempt may have been carried out although its answer was lost, and its pieces may be gone again since.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage import sql
from mcp_edge.storage.cloudflare_d1_binding import D1Binding, repeated, run
from mcp_edge.storage.javascript import JsException
from mcp_edge.storage.keys import checked
from mcp_edge.storage.ports import Entry

logger = logging.getLogger(__name__)

_ENDLESS = 1e11
"""`expires_at` of a record without end, in the year 5138: Python's None is JavaScript's undefined, which D1 refuses."""
_PIECE_CHARS = 900_000
"""Each takes two bytes at most, beside a key of 512."""
_NAME = "\u0100"
"""No byte is this character: what follows it in place of a value is the name of the value's pieces."""
_REREADS = 8

_DROP_PIECES = "BEGIN DELETE FROM pieces WHERE name = substr(OLD.value, 2); END"
TABLES = (
    *sql.TABLES,
    "CREATE TABLE IF NOT EXISTS pieces (name TEXT NOT NULL, n INTEGER NOT NULL, expires_at REAL NOT NULL,"
    " value TEXT NOT NULL, PRIMARY KEY (name, n)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS pieces_by_expiry ON pieces (expires_at)",
    *(
        f"CREATE TRIGGER IF NOT EXISTS {table}_{event}_pieces AFTER {event} ON {table}"
        f" WHEN substr(OLD.value, 1, 1) = '{_NAME}' {_DROP_PIECES}"
        for table in ("records", "atomics")
        for event in ("UPDATE", "DELETE")
    ),
)
"""Made when the first statement finds no table: a plain `wrangler deploy` runs no migration."""

_PUT_PIECE = "INSERT INTO pieces (name, n, expires_at, value) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_GET_PIECES = "SELECT value FROM pieces WHERE name = ? ORDER BY n"
_DELETE_PIECES = "DELETE FROM pieces WHERE name = ?"
_SWEEP_PIECES = "DELETE FROM pieces WHERE name IN (SELECT DISTINCT name FROM pieces WHERE expires_at <= ? LIMIT ?)"
_IF_BROKEN = " AND value = ? AND NOT EXISTS (SELECT 1 FROM pieces WHERE name = ?)"
_COUNTED = " RETURNING 1"
"""Makes a write answer with one row for each that it changed."""


class D1Database:
    """The binding, with its tables, its limits, and what its errors mean."""

    def __init__(self, binding: D1Binding) -> None:
        self._binding = binding

    async def rows(self, statement: str, *values: str | float) -> list[list[Any]]:
        """The rows that one statement answers with; a write answers with none unless it says RETURNING.

        Raises:
            StoreUnavailable: D1 is overloaded, or failed and failed again.
            JsException: the statement or a value is wrong.
        """
        return await repeated(lambda: self._attempt(statement, values))

    async def write(
        self, statement: str, value: bytes, expires_at: float, values: Callable[[str], tuple[str | float, ...]]
    ) -> bool:
        """Run a statement that stores `value`, and say whether it stored it; `values` takes the text of the row.

        Each attempt has pieces of its own. One that was carried out after all is replaced by the next, which removes
        its pieces; those of one that was not are left to expire, since it may still be carried out.
        """

        async def attempt() -> tuple[str, bool]:
            text = await self.packed(value, expires_at)
            return text, bool(await self._attempt(statement + _COUNTED, values(text)))

        text, done = await repeated(attempt)
        if not done and text.startswith(_NAME):
            await self.rows(_DELETE_PIECES, text[1:])
        return done

    async def _attempt(self, statement: str, values: tuple[str | float, ...]) -> list[list[Any]]:
        try:
            return await run(self._binding, statement, *values)
        except JsException as e:
            if "no such table" not in str(e):
                raise
        for table in TABLES:
            await run(self._binding, table)
        return await run(self._binding, statement, *values)

    async def packed(self, value: bytes, expires_at: float) -> str:
        """`value` as the text of one row. What is too large for one is in the table of pieces when this returns."""
        text = value.decode("latin-1")
        if len(text) <= _PIECE_CHARS:
            return text
        name = secrets.token_hex(16)
        for n, at in enumerate(range(0, len(text), _PIECE_CHARS)):
            await self.rows(_PUT_PIECE, name, n, expires_at, text[at : at + _PIECE_CHARS])
        return _NAME + name

    async def unpacked(self, text: str) -> bytes | None:
        """The value of a row, or None when the row was replaced before its pieces were read."""
        if not text.startswith(_NAME):
            return text.encode("latin-1")
        pieces = await self.rows(_GET_PIECES, text[1:])
        return "".join(piece for (piece,) in pieces).encode("latin-1") if pieces else None

    async def find(self, select: str, delete: str, key: str, clock: Callable[[], float]) -> list[Any] | None:
        """The row that `select` of (key, now) finds, its value unpacked; `delete` is the statement that removes it.

        A row whose pieces are gone is lost. Left in place, it would make every read of it and of its neighbours fail,
        and nobody could create it anew: so it is removed.
        """
        for _ in range(_REREADS):
            found = await self.rows(select, key, clock())
            if not found:
                return None
            text, *more = found[0]
            if (value := await self.unpacked(text)) is not None:
                return [value, *more]
            if await self.rows(delete + _IF_BROKEN + _COUNTED, key, text, text[1:]):
                logger.error("D1: the pieces of the large record %s are gone; what is left of it is removed", key)
        raise StoreUnavailable(f"a large record was replaced {_REREADS} times while it was read")

    async def sweep(self, statement: str, now: float, limit: int) -> int:
        """Run a DELETE of (now, rows), and remove the expired pieces that no row names."""
        gone = await self.rows(statement + _COUNTED, now, limit)
        await self.rows(_SWEEP_PIECES, now, limit)
        return len(gone)


class D1Records:
    """`RecordStore` on D1. Consistent; one statement per call."""

    def __init__(self, database: D1Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def get(self, key: str) -> bytes | None:
        if not _encodable(key):
            return None
        found = await self._database.find(sql.GET_RECORD, sql.DELETE_RECORD, key, self._clock)
        return None if found is None else found[0]

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        checked(key)
        expires_at = _ENDLESS if ttl_s is None else self._clock() + ttl_s
        await self._database.write(sql.PUT_RECORD, value, expires_at, lambda text: (key, expires_at, text))

    async def delete(self, key: str) -> None:
        await self._database.rows(sql.DELETE_RECORD, checked(key))

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        rows = await self._database.rows(sql.LIST_RECORDS, *sql.bounds(prefix, after), self._clock(), max(limit, 0))
        return [key for (key,) in rows]

    async def sweep(self, *, limit: int = 1000) -> int:
        return await self._database.sweep(sql.SWEEP_RECORDS, self._clock(), limit)

    async def aclose(self) -> None:
        """The binding is the host's."""


class D1Atomics:
    """`AtomicStore` on D1. Each write is one statement, so one transaction; the primary database orders them."""

    def __init__(self, database: D1Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        checked(key)
        now = self._clock()
        expires_at = _ENDLESS if ttl_s is None else now + ttl_s
        return await self._database.write(
            sql.CREATE_ATOMIC, value, expires_at, lambda text: (key, expires_at, nonce, text, now)
        )

    async def get(self, key: str) -> Entry | None:
        if not _encodable(key):
            return None
        found = await self._database.find(sql.GET_ATOMIC, sql.DELETE_ATOMIC, key, self._clock)
        return None if found is None else Entry(key, *found)

    async def swap(self, key: str, value: bytes, *, version: int, nonce: str, ttl_s: float | None = None) -> int | None:
        checked(key)
        now = self._clock()
        expires_at = _ENDLESS if ttl_s is None else now + ttl_s
        new = version + 1
        done = await self._database.write(
            sql.SWAP_ATOMIC,
            value,
            expires_at,
            lambda text: (expires_at, new, nonce, text, key, version, new, nonce, now),
        )
        return new if done else None

    async def delete(self, key: str) -> None:
        await self._database.rows(sql.DELETE_ATOMIC, checked(key))

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        rows = await self._database.rows(sql.READ_ATOMICS, *sql.bounds(prefix, after), self._clock(), max(limit, 0))
        found: list[Entry | None] = []
        for key, text, version in rows:
            value = await self._database.unpacked(text)
            found.append(await self.get(key) if value is None else Entry(key, value, version))
        return [entry for entry in found if entry is not None]

    async def sweep(self, *, limit: int = 1000) -> int:
        return await self._database.sweep(sql.SWEEP_ATOMICS, self._clock(), limit)

    async def aclose(self) -> None:
        """The binding is the host's."""


def _encodable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def open_d1(binding: D1Binding, clock: Callable[[], float] = time.time) -> tuple[D1Records, D1Atomics]:
    """Both ports on one database, whose tables are made at the first use. `clock` gives epoch seconds."""
    database = D1Database(binding)
    return D1Records(database, clock), D1Atomics(database, clock)
