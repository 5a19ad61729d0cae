"""A process of its own on a SQLite file, for tests that need several: `python -m tests.storage.worker TASK PATH`."""

from __future__ import annotations

import json
import os
import random
import sys
from hashlib import sha256
from uuid import uuid4

import anyio

from mcp_edge.errors import ConfigurationError
from mcp_edge.storage.sqlite import SQLiteAtomics, SQLiteDatabase, SQLiteRecords, open_sqlite
from tests.storage.atomic_contract import increment

INCREMENTS = 60
CONTESTED = 100


def sealed(number: int) -> bytes:
    """A value that tells its number, and whether it is whole."""
    body = b"%d:" % number + random.randbytes(random.randrange(20_000))
    return sha256(body).digest() + body


def unsealed(value: bytes) -> int:
    """The number in a sealed value, which must be whole."""
    assert sha256(value[32:]).digest() == value[:32], "a value is half written"
    return int(value[32:].partition(b":")[0])


def say(word: object) -> None:
    """One line to the test that started this process."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def wait_for_start() -> None:
    """Tell the test that all is imported, and begin when it says so."""
    say("ready")
    sys.stdin.readline()


async def first_use(path: str) -> None:
    """Write one record, on a file that may not be there yet."""
    wait_for_start()
    records, _ = open_sqlite(path)
    await records.put(f"process/{os.getpid()}", b"")
    say(os.getpid())
    await records.aclose()


async def count(path: str) -> None:
    """Increment a number that every process increments."""
    wait_for_start()
    _, atomics = open_sqlite(path)
    await atomics.create("count", b"0", nonce=uuid4().hex)
    for _ in range(INCREMENTS):
        await increment(atomics, "count")
    say("done")
    await atomics.aclose()


async def contend(path: str) -> None:
    """Create keys that every process creates; say which were won."""
    wait_for_start()
    _, atomics = open_sqlite(path)
    me = str(os.getpid())
    say(json.dumps([n for n in range(CONTESTED) if await atomics.create(f"k/{n:03}", me.encode(), nonce=me)]))
    await atomics.aclose()


async def write_until_killed(path: str) -> None:
    """Write numbered records, a log and its head; say each number when all three are acknowledged."""
    # So few pages that many kills come in the middle of a checkpoint.
    database = SQLiteDatabase(path, checkpoint_pages=10)
    records, atomics = SQLiteRecords(database), SQLiteAtomics(database)
    await atomics.create("head", sealed(-1), nonce=uuid4().hex)
    while True:
        head = await atomics.get("head")
        assert head is not None
        number = unsealed(head.value) + 1
        await records.put(f"n/{number:06}", sealed(number), ttl_s=3600)
        await atomics.create(f"log/{number:06}", sealed(number), nonce=uuid4().hex, ttl_s=3600)
        await atomics.swap("head", sealed(number), version=head.version, nonce=uuid4().hex)
        say(number)


def fork(path: str) -> None:
    """Go on in a forked child with stores that the parent had opened, while the parent closes them."""
    records, atomics = open_sqlite(path)
    anyio.run(records.put, "before", b"")
    parent_end, child_end = os.pipe()
    started, closed = os.pipe()
    child = os.fork()
    if child == 0:
        anyio.run(records.put, "child", b"")
        os.write(child_end, b"x")
        os.read(started, 1)
        anyio.run(records.put, "child after the parent closed", b"")
        os._exit(0)
    os.read(parent_end, 1)
    anyio.run(atomics.aclose)
    os.write(closed, b"x")
    os.waitpid(child, 0)
    say(json.dumps(anyio.run(records.list, "")))
    anyio.run(records.aclose)


async def open_without_permission(path: str) -> None:
    """Use a file that this user may only read; say what came of it."""
    if os.geteuid() == 0:
        os.setuid(65534)  # root may write everything
    try:
        await open_sqlite(path)[0].get("a")
    except ConfigurationError as e:
        say(e)


if __name__ == "__main__":
    task, file = sys.argv[1:]
    if task == "fork":
        fork(file)
    else:
        tasks = (first_use, count, contend, write_until_killed, open_without_permission)
        anyio.run({t.__name__: t for t in tasks}[task], file)
