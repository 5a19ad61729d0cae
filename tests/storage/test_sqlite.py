"""The SQLite adapter keeps the contracts, says what is wrong with its file, and waits for locks off the event loop."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mcp_edge.errors import ConfigurationError, StoreUnavailable
from mcp_edge.storage.sqlite import SCHEMA_VERSION, SQLiteAtomics, SQLiteDatabase, SQLiteRecords, open_sqlite
from tests.storage.atomic_contract import AtomicStoreContract
from tests.storage.record_contract import RecordStoreContract
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


class TestSQLiteRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteRecords]:
        records, _ = open_sqlite(tmp_path / "mcp.db", clock)
        yield records
        await records.aclose()

    @pytest.fixture
    async def peer(self, tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteRecords]:
        records, _ = open_sqlite(tmp_path / "mcp.db", clock)
        yield records
        await records.aclose()


class TestSQLiteAtomics(AtomicStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteAtomics]:
        _, atomics = open_sqlite(tmp_path / "mcp.db", clock)
        yield atomics
        await atomics.aclose()

    @pytest.fixture
    async def peer(self, tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteAtomics]:
        _, atomics = open_sqlite(tmp_path / "mcp.db", clock)
        yield atomics
        await atomics.aclose()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SQLiteDatabase]:
    database = SQLiteDatabase(tmp_path / "mcp.db", patience_s=0.1)
    yield database
    database.close()


async def test_the_file_is_made_at_first_use_with_its_folders_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "mcp.db"
    records, _ = open_sqlite(path)
    assert not path.parent.exists()
    await records.put("a", b"one")
    assert sorted((f.name, oct(f.stat().st_mode & 0o777)) for f in path.parent.iterdir()) == [
        ("mcp.db", "0o600"),
        ("mcp.db-shm", "0o600"),
        ("mcp.db-wal", "0o600"),
    ]
    await records.aclose()


async def test_a_path_stays_the_same_when_the_process_changes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records, _ = open_sqlite("mcp.db")
    monkeypatch.chdir("/")
    await records.put("a", b"one")
    await records.aclose()
    assert (tmp_path / "mcp.db").is_file()


async def test_a_closed_store_opens_again_with_what_it_held(tmp_path: Path) -> None:
    records, atomics = open_sqlite(tmp_path / "mcp.db")
    await records.put("a", b"one")
    await records.aclose()
    assert [f.name for f in tmp_path.iterdir()] == ["mcp.db"]
    await atomics.create("a", b"two", nonce="n1")
    assert await records.get("a") == b"one"
    await atomics.aclose()


async def test_a_file_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mcp.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(
        ConfigurationError, match=f"has schema {SCHEMA_VERSION + 1}, this release knows {SCHEMA_VERSION}"
    ):
        await open_sqlite(path)[0].get("a")
    assert path.read_bytes() == before


async def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mcp.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE accounts (id)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="is the database of something else"):
        await open_sqlite(path)[0].get("a")
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mcp.db"
    path.write_bytes(b"notes, not a database\n" * 1000)
    with pytest.raises(ConfigurationError, match="cannot be used: file is not a database"):
        await open_sqlite(path)[0].get("a")
    assert path.read_bytes() == b"notes, not a database\n" * 1000


async def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used: unable to open database file"):
        await open_sqlite(tmp_path)[0].get("a")


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot be used: .*Not a directory"):
        await open_sqlite(tmp_path / "file" / "folder" / "mcp.db")[0].get("a")


async def test_a_write_waits_for_another_writer_without_holding_up_the_event_loop(tmp_path: Path) -> None:
    records, atomics = open_sqlite(tmp_path / "mcp.db")
    await records.put("a", b"one")
    done: list[str] = []

    async def write() -> None:
        await atomics.create("b", b"two", nonce="n1")
        done.append("written")

    with closing(sqlite3.connect(tmp_path / "mcp.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with anyio.fail_after(2):  # a wait inside the engine would outlast it
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                for _ in range(3):
                    await anyio.wait_all_tasks_blocked()
                    assert await records.get("a") == b"one"  # a reader waits for nobody
                assert done == []
                other.execute("COMMIT")
    assert done == ["written"]
    await records.aclose()


async def test_a_file_that_stays_locked_is_unavailable(tmp_path: Path, database: SQLiteDatabase) -> None:
    records, atomics = SQLiteRecords(database), SQLiteAtomics(database)
    await records.put("a", b"one")
    with closing(sqlite3.connect(tmp_path / "mcp.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"busy for 0.1 s") as failure:
            await records.put("a", b"two")
        assert isinstance(failure.value.__cause__, sqlite3.OperationalError)
        with pytest.raises(StoreUnavailable, match=r"busy for 0.1 s"):
            await atomics.create("a", b"two", nonce="n1")
    assert (await records.get("a"), await atomics.get("a")) == (b"one", None)


async def test_a_file_that_is_locked_at_the_first_use_is_unavailable_not_misconfigured(
    tmp_path: Path, database: SQLiteDatabase
) -> None:
    with closing(sqlite3.connect(tmp_path / "mcp.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="busy"):
            await SQLiteRecords(database).get("a")
    await SQLiteRecords(database).put("a", b"one")


async def test_a_full_disk_is_unavailable_and_loses_nothing_stored(database: SQLiteDatabase) -> None:
    records = SQLiteRecords(database)
    await records.put("a", b"one")
    database.connection().execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreUnavailable, match="full") as failure:
        await records.put("b", bytes(100_000))
    assert isinstance(failure.value.__cause__, sqlite3.OperationalError)
    assert await records.list("") == ["a"]
    await records.put("b", bytes(100_000))
    assert await records.list("") == ["a", "b"]


async def test_a_file_that_breaks_while_the_server_runs_is_unavailable(
    tmp_path: Path, database: SQLiteDatabase
) -> None:
    records = SQLiteRecords(database)
    await records.put("a", b"one")
    await records.aclose()
    (tmp_path / "mcp.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await records.get("a")


async def test_a_mistake_of_ours_is_not_called_an_outage(database: SQLiteDatabase) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        await database.rows("SELECT ?", ())


@pytest.mark.parametrize(("durable", "synchronous"), [(False, 1), (True, 2)])
async def test_durable_means_fsync_at_every_write(tmp_path: Path, durable: bool, synchronous: int) -> None:
    database = SQLiteDatabase(tmp_path / "mcp.db", durable=durable)
    assert await database.rows("PRAGMA synchronous", ()) == [(synchronous,)]
    database.close()


async def test_the_log_does_not_grow_with_the_writes(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "mcp.db", checkpoint_pages=50)
    records = SQLiteRecords(database)

    async def write(writer: int) -> None:
        for n in range(300):
            await records.put(f"{writer}/{n % 20}", random.randbytes(500))  # what is the same is not written
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for writer in range(8):
            tasks.start_soon(write, writer)
    assert (tmp_path / "mcp.db-wal").stat().st_size < 2_500_000
    assert len(await records.list("", limit=1000)) == 160
    database.close()


async def test_one_large_value_counts_as_much_as_many_small_ones(tmp_path: Path) -> None:
    records, _ = open_sqlite(tmp_path / "mcp.db")
    for n in range(20):
        await records.put(f"{n}", bytes(2 * 1024 * 1024))
    assert (tmp_path / "mcp.db-wal").stat().st_size < 24 * 1024 * 1024
    await records.aclose()


async def test_sweep_counts_what_it_removed_up_to_its_limit(tmp_path: Path, clock: Clock) -> None:
    records, atomics = open_sqlite(tmp_path / "mcp.db", clock)
    for n in range(250):
        await records.put(f"{n}", b"", ttl_s=60)
        await atomics.create(f"{n}", b"", nonce="n", ttl_s=60)
    assert await records.sweep() == 0
    clock.advance(60)
    assert [await s.sweep(limit=230) for s in (records, atomics) for _ in range(3)] == [230, 20, 0] * 2
    await records.aclose()


def test_requests_may_come_on_one_event_loop_and_thread_after_another(tmp_path: Path) -> None:
    records, atomics = open_sqlite(tmp_path / "mcp.db")
    seen: list[object] = []

    async def use(n: int) -> None:
        await records.put(f"{n}", b"")
        seen.append((len(await records.list("")), await atomics.create("a", b"", nonce=f"{n}")))

    for n in range(3):
        thread = threading.Thread(target=anyio.run, args=(use, n))
        thread.start()
        thread.join(timeout=30)
    anyio.run(use, 3)
    anyio.run(records.aclose)
    assert seen == [(1, True), (2, False), (3, False), (4, False)]
