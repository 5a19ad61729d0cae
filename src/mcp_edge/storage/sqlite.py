"""Both ports on one SQLite file that any number of a machine's processes may share. Only this module names `sqlite3`.

A point read takes microseconds, an insert little more, a hop to a thread several times that: statements run inline
on the event loop. What may take longer does not: another process's lock is waited for in `anyio.sleep`, and the
checkpoint, the one step that calls fsync, runs in a thread on a connection of its own.

What is lost when: nothing acknowledged by SIGKILL. A power cut may take back the last writes (those since the last
checkpoint) but leaves the file whole; with `durable=True` it takes nothing, for one fsync on the event loop per write.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from mcp_edge.errors import ConfigurationError, StoreUnavailable
from mcp_edge.storage import sql
from mcp_edge.storage.keys import checked
from mcp_edge.storage.own_files import make_folder, refuse_foreign_database
from mcp_edge.storage.ports import Entry

SCHEMA_VERSION = 1
"""`PRAGMA user_version` of the files that this release writes."""

_PAGE_BYTES = 4096
_SWEEP_STEP = 100
"""Rows that one statement deletes: about a millisecond of the event loop."""
_WAL_PATIENCE = 4
"""A log of this many times `checkpoint_pages` is cut off, for which writers have to stand still a moment."""

_T = TypeVar("_T")


class SQLiteDatabase:
    """One file and this process's connection to it: opened at first use, and again after a fork or a failure.

    Calls may come from one event loop and thread after another, but not from two threads at once.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durable: bool = False,
        patience_s: float = 10,
        checkpoint_pages: int = 1000,
    ) -> None:
        """A busy file is waited for `patience_s`; `checkpoint_pages` of log are written between checkpoints.

        Raises:
            ConfigurationError: `path` names no file.
        """
        if not os.fspath(path) or os.fspath(path) == ":memory:":
            raise ConfigurationError("sqlite: needs the path of a file; a store in memory is `memory:`")
        # Taken now: the process may have another working directory when the first request comes.
        self.path = Path(path).expanduser().absolute()
        self._durable = durable
        self._patience_s = patience_s
        self._checkpoint_pages = checkpoint_pages
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._opened_before = False
        self._pages = 0

    def connection(self) -> sqlite3.Connection:
        """The open connection.

        Raises:
            ConfigurationError: the file cannot be used at all, found at the first opening.
            sqlite3.Error: it is busy, or was usable before.
        """
        if self._connection is not None:
            if self._pid == os.getpid():
                return self._connection
            # SQLite keeps a table of the locks its process holds. A forked child inherits the table, not the locks:
            # beside an inherited connection a new one would count on locks that do not exist, and lose writes.
            self.close()
        try:
            connection = self._open()
        except (sqlite3.DatabaseError, OSError) as e:
            if self._opened_before or _is_busy(e):
                raise
            raise ConfigurationError(f"the store sqlite:{self.path} cannot be used: {e}") from e
        except ConfigurationError as e:
            if self._opened_before:  # requests are being served: theirs may be repeated when it has been put right
                raise StoreUnavailable(str(e)) from e
            raise
        self._connection, self._pid, self._opened_before = connection, os.getpid(), True
        return connection

    def close(self) -> None:
        """Close the connection; a later use opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    async def attempt(self, work: Callable[[], _T]) -> _T:
        """The result of `work`, which runs at once, and again while the file is locked by others.

        `work` is one statement or one whole transaction, and never waits: so no two of them mix.

        Raises:
            StoreUnavailable: the file stayed busy for `patience_s`, or the engine failed (disk full, I/O error).
        """
        deadline: float | None = None
        while True:
            try:
                return work()
            except (sqlite3.DatabaseError, OSError) as e:
                if isinstance(e, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.DataError):
                    raise
                if not _is_busy(e):
                    # A new connection may fare better, where the file came back or was replaced.
                    self.close()
                    raise StoreUnavailable(f"the store failed: {e}") from e
                now = anyio.current_time()
                deadline = now + self._patience_s if deadline is None else deadline
                if now >= deadline:
                    raise StoreUnavailable(f"the store was busy for {self._patience_s:g} s") from e
            await anyio.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - jitter keeps the waiters apart, it hides nothing

    async def rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """The rows of a SELECT, all of them: a statement left open would hold the log back."""
        return await self.attempt(lambda: self.connection().execute(statement, values).fetchall())

    async def write(self, statement: str, values: tuple[Any, ...], *, size: int = 0) -> int:
        """Run one statement as a transaction and return how many rows changed. `size` is the value's, in bytes."""
        changed = await self.attempt(lambda: self.connection().execute(statement, values).rowcount)
        self._pages += 1 + size // _PAGE_BYTES
        if self._pages >= self._checkpoint_pages:
            await self.checkpoint()
        return changed

    async def sweep(self, statement: str, now: float, limit: int) -> int:
        """Run a DELETE of (now, rows) in steps that let other requests in between, then a checkpoint."""
        gone = 0
        while gone < limit:
            step = min(_SWEEP_STEP, limit - gone)
            went = await self.write(statement, (now, step))
            gone += went
            if went < step:
                break
            await anyio.lowlevel.checkpoint()
        await self.checkpoint()
        return gone

    async def checkpoint(self) -> None:
        """Carry the log over into the file, in a thread. A failure is left to the next one: the log loses nothing."""
        self._pages = 0
        await anyio.to_thread.run_sync(self._checkpoint)

    def _checkpoint(self) -> None:
        existing = self.path.as_uri() + "?mode=rw"
        with suppress(sqlite3.Error), closing(sqlite3.connect(existing, uri=True, timeout=0.1)) as connection:
            _, logged, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            # Under steady load there is always a write that the passive checkpoint has not seen, and the log never
            # starts over. Writers are held up for what is left by now, and 0.1 s at most where a reader does not end.
            if logged > _WAL_PATIENCE * self._checkpoint_pages:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _open(self) -> sqlite3.Connection:
        make_folder(self.path.parent)
        refuse_foreign_database(self.path, "Or name another file in MCP_STORE.")
        # Only a new file may be opened beside SQLite: to close any descriptor of a file drops this process's locks.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        execute = connection.execute
        execute("BEGIN IMMEDIATE")  # also finds out now that the file is read-only
        (version,) = execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise ConfigurationError(
                f"the store sqlite:{self.path} has schema {version}, this release knows {SCHEMA_VERSION}:"
                " run a newer release or name another file"
            )
        if version == 0:
            if execute("SELECT 1 FROM sqlite_master").fetchone():
                raise ConfigurationError(f"sqlite:{self.path} is the database of something else: name another file")
            for statement in sql.TABLES:
                execute(statement)
            execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        execute("COMMIT")
        (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ConfigurationError(f"sqlite:{self.path} is on a file system without shared memory: name a local file")
        execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        execute("PRAGMA wal_autocheckpoint = 0")


def _is_busy(e: Exception) -> bool:
    # The low byte is the kind, the rest tells which lock it was. PROTOCOL is a race for the log, lost many times.
    kind = getattr(e, "sqlite_errorcode", 0) & 0xFF
    return kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


class SQLiteRecords:
    """`RecordStore` on a `SQLiteDatabase`. Consistent between the processes that share the file."""

    def __init__(self, database: SQLiteDatabase, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def get(self, key: str) -> bytes | None:
        try:
            found = await self._database.rows(sql.GET_RECORD, (key, self._clock()))
        except UnicodeEncodeError:
            return None
        return found[0][0] if found else None

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        expires_at = None if ttl_s is None else self._clock() + ttl_s
        await self._database.write(sql.PUT_RECORD, (checked(key), expires_at, value), size=len(value))

    async def delete(self, key: str) -> None:
        await self._database.write(sql.DELETE_RECORD, (checked(key),))

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        values = (*sql.bounds(prefix, after), self._clock(), max(limit, 0))
        return [key for (key,) in await self._database.rows(sql.LIST_RECORDS, values)]

    async def sweep(self, *, limit: int = 1000) -> int:
        return await self._database.sweep(sql.SWEEP_RECORDS, self._clock(), limit)

    async def aclose(self) -> None:
        """Close the connection, which both stores of the database share; a later use opens another one."""
        self._database.close()


class SQLiteAtomics:
    """`AtomicStore` on a `SQLiteDatabase`. Each write is one statement, so one transaction; the file orders them."""

    def __init__(self, database: SQLiteDatabase, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        now = self._clock()
        expires_at = None if ttl_s is None else now + ttl_s
        values = (checked(key), expires_at, nonce, value, now)
        return await self._database.write(sql.CREATE_ATOMIC, values, size=len(value)) == 1

    async def get(self, key: str) -> Entry | None:
        try:
            found = await self._database.rows(sql.GET_ATOMIC, (key, self._clock()))
        except UnicodeEncodeError:
            return None
        return Entry(key, *found[0]) if found else None

    async def swap(self, key: str, value: bytes, *, version: int, nonce: str, ttl_s: float | None = None) -> int | None:
        now = self._clock()
        expires_at = None if ttl_s is None else now + ttl_s
        new = version + 1
        values = (expires_at, new, nonce, value, checked(key), version, new, nonce, now)
        return new if await self._database.write(sql.SWAP_ATOMIC, values, size=len(value)) == 1 else None

    async def delete(self, key: str) -> None:
        await self._database.write(sql.DELETE_ATOMIC, (checked(key),))

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        values = (*sql.bounds(prefix, after), self._clock(), max(limit, 0))
        return [Entry(*row) for row in await self._database.rows(sql.READ_ATOMICS, values)]

    async def sweep(self, *, limit: int = 1000) -> int:
        return await self._database.sweep(sql.SWEEP_ATOMICS, self._clock(), limit)

    async def aclose(self) -> None:
        """Close the connection, which both stores of the database share; a later use opens another one."""
        self._database.close()


def open_sqlite(
    path: str | os.PathLike[str], clock: Callable[[], float] = time.time, *, durable: bool = False
) -> tuple[SQLiteRecords, SQLiteAtomics]:
    """Both ports on the file at `path`, which is made at the first use. `clock` gives epoch seconds.

    Raises:
        ConfigurationError: `path` names no file. What is wrong with the file itself comes up at the first use.
    """
    database = SQLiteDatabase(path, durable=durable)
    return SQLiteRecords(database, clock), SQLiteAtomics(database, clock)
