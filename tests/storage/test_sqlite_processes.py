"""Several processes on one SQLite file agree on every winner, and a killed one takes nothing acknowledged with it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mcp_edge.storage.ports import Entry
from mcp_edge.storage.sqlite import open_sqlite
from tests.storage.worker import CONTESTED, INCREMENTS, unsealed

PROCESSES = 4
KILLS = 8

pytestmark = pytest.mark.serial


@contextmanager
def worker(task: str, path: Path) -> Generator[subprocess.Popen[str]]:
    """A process that does `task`; killed at the end if it is still there."""
    command = [sys.executable, "-m", "tests.storage.worker", task, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def answers(task: str, path: Path) -> list[str]:
    """What each of several processes says that were all started on `task` before the first one began."""
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(task, path)) for _ in range(PROCESSES)]
        for process in workers:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in workers:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[0].strip() for process in workers]
        assert [process.returncode for process in workers] == [0] * PROCESSES
    return said


@pytest.mark.anyio
async def test_processes_that_start_at_once_on_a_new_file_all_get_their_writes_in(tmp_path: Path) -> None:
    for attempt in range(2):
        path = tmp_path / f"{attempt}" / "mcp.db"
        pids = answers("first_use", path)
        records, _ = open_sqlite(path)
        assert await records.list("") == sorted(f"process/{pid}" for pid in pids)
        await records.aclose()


@pytest.mark.anyio
async def test_increments_of_several_processes_add_up(tmp_path: Path) -> None:
    assert answers("count", tmp_path / "mcp.db") == ["done"] * PROCESSES
    _, atomics = open_sqlite(tmp_path / "mcp.db")
    total = PROCESSES * INCREMENTS
    assert await atomics.get("count") == Entry("count", str(total).encode(), total + 1)
    await atomics.aclose()


def test_every_key_that_several_processes_create_has_one_winner(tmp_path: Path) -> None:
    won = [json.loads(said) for said in answers("contend", tmp_path / "mcp.db")]
    assert sorted(n for numbers in won for n in numbers) == list(range(CONTESTED))


@pytest.mark.anyio
async def test_a_killed_process_loses_nothing_acknowledged_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "mcp.db"
    acknowledged = -1
    for _ in range(KILLS):
        with worker("write_until_killed", path) as process:
            assert process.stdout is not None
            for _ in range(random.randrange(1, 60)):
                acknowledged = int(process.stdout.readline())
            process.kill()
            for line in process.stdout:
                acknowledged = int(line)
        records, atomics = open_sqlite(path)
        head = await atomics.get("head")
        assert head is not None
        last = unsealed(head.value)
        # The last step may have been done and not yet told, never the other way round.
        assert last in (acknowledged, acknowledged + 1)
        assert head.version == last + 2
        keys = await records.list("n/", limit=100_000)
        values = [await records.get(key) for key in keys]
        assert [unsealed(value) for value in values if value is not None] == list(range(len(keys)))
        log = await atomics.read("log/", limit=100_000)
        assert [(e.key, unsealed(e.value), e.version) for e in log] == [(f"log/{n:06}", n, 1) for n in range(len(log))]
        # A step cut off has put its record, or its record and its log entry.
        assert last + 1 <= len(log) <= len(keys) <= last + 2
        await records.aclose()


def test_a_forked_child_opens_the_file_itself_and_loses_nothing(tmp_path: Path) -> None:
    with worker("fork", tmp_path / "mcp.db") as process:
        said, _ = process.communicate(timeout=60)
    assert json.loads(said) == ["before", "child", "child after the parent closed"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.anyio
async def test_a_file_that_may_only_be_read_is_refused(open_folder: Path) -> None:
    path = open_folder / "mcp.db"
    records, _ = open_sqlite(path)
    await records.put("a", b"one")
    await records.aclose()
    path.chmod(0o444)
    with worker("open_without_permission", path) as process:
        said, _ = process.communicate(timeout=60)
    assert said == f"the store sqlite:{path} cannot be used: attempt to write a readonly database\n"
