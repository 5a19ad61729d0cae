"""Any sequence of operations on an adapter answers as the same sequence on a plain dict."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from mcp_edge.storage.memory import open_memory
from mcp_edge.storage.ports import AtomicStore, Entry, RecordStore
from mcp_edge.storage.sqlite import open_sqlite
from tests.support.clock import Clock

T = TypeVar("T")

LETTERS = "a/0%'é\x00\uffff\U0010ffff"
PREFIXES = st.text(LETTERS, max_size=2)
KEYS = st.text(LETTERS, min_size=1, max_size=3)
VALUES = st.binary(max_size=5)
LIVES = st.none() | st.integers(0, 5)
NONCES = st.sampled_from(["n1", "n2"])


@dataclass
class Modelled:
    """A record as the port describes it."""

    value: bytes
    expires_at: float
    version: int = 1
    nonce: str = ""


class Machine(RuleBasedStateMachine):
    """Both ports of one engine beside two dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.records, self.atomics = self.open()
        self.record_model: dict[str, Modelled] = {}
        self.atomic_model: dict[str, Modelled] = {}

    def open(self) -> tuple[RecordStore, AtomicStore]:
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.records.aclose())
        self.runner.close()

    def end(self, ttl_s: float | None) -> float:
        return inf if ttl_s is None else self.clock.now + ttl_s

    def live(self, model: dict[str, Modelled]) -> dict[str, Modelled]:
        return {key: model[key] for key in sorted(model, key=str.encode) if model[key].expires_at > self.clock.now}

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(key=KEYS, value=VALUES, ttl_s=LIVES)
    def put(self, key: str, value: bytes, ttl_s: int | None) -> None:
        self.run(self.records.put(key, value, ttl_s=ttl_s))
        self.record_model[key] = Modelled(value, self.end(ttl_s))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.run(self.records.delete(key))
        self.run(self.atomics.delete(key))
        self.record_model.pop(key, None)
        self.atomic_model.pop(key, None)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        record = self.live(self.record_model).get(key)
        atomic = self.live(self.atomic_model).get(key)
        assert self.run(self.records.get(key)) == (record.value if record else None)
        assert self.run(self.atomics.get(key)) == (Entry(key, atomic.value, atomic.version) if atomic else None)

    @rule(prefix=PREFIXES, after=PREFIXES, limit=st.integers(0, 4))
    def look_through(self, prefix: str, after: str, limit: int) -> None:
        def expected(model: dict[str, Modelled]) -> list[tuple[str, Modelled]]:
            found = [(k, m) for k, m in self.live(model).items() if k.startswith(prefix) and k > after]
            return found[:limit]

        listed = self.run(self.records.list(prefix, after=after, limit=limit))
        assert listed == [key for key, _ in expected(self.record_model)]
        read = self.run(self.atomics.read(prefix, after=after, limit=limit))
        assert read == [Entry(key, m.value, m.version) for key, m in expected(self.atomic_model)]

    @rule(key=KEYS, value=VALUES, nonce=NONCES, ttl_s=LIVES)
    def create(self, key: str, value: bytes, nonce: str, ttl_s: int | None) -> None:
        found = self.live(self.atomic_model).get(key)
        repeated = found is not None and (found.version, found.nonce) == (1, nonce)
        if found is not None and repeated:
            value, ttl_s = found.value, None
        won = self.run(self.atomics.create(key, value, nonce=nonce, ttl_s=ttl_s))
        assert won == (found is None or repeated)
        if won:
            self.atomic_model[key] = Modelled(value, self.end(ttl_s), 1, nonce)

    @rule(key=KEYS, value=VALUES, behind=st.integers(-1, 2), nonce=NONCES, ttl_s=LIVES)
    def swap(self, key: str, value: bytes, behind: int, nonce: str, ttl_s: int | None) -> None:
        found = self.live(self.atomic_model).get(key)
        version = max((found.version if found else 1) - behind, 1)
        repeated = found is not None and (found.version, found.nonce) == (version + 1, nonce)
        if found is not None and repeated:
            value, ttl_s = found.value, None
        swapped = self.run(self.atomics.swap(key, value, version=version, nonce=nonce, ttl_s=ttl_s))
        wins = found is not None and (found.version == version or repeated)
        assert swapped == (version + 1 if wins else None)
        if wins:
            self.atomic_model[key] = Modelled(value, self.end(ttl_s), version + 1, nonce)

    @rule()
    def sweep(self) -> None:
        self.run(self.records.sweep())
        self.run(self.atomics.sweep())
        assert (self.run(self.records.sweep()), self.run(self.atomics.sweep())) == (0, 0)


class MemoryMachine(Machine):
    def open(self) -> tuple[RecordStore, AtomicStore]:
        return open_memory(self.clock)


class SQLiteMachine(Machine):
    def open(self) -> tuple[RecordStore, AtomicStore]:
        self.folder = Path(tempfile.mkdtemp())
        return open_sqlite(self.folder / "mcp.db", self.clock)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestMemoryAgainstAModel = MemoryMachine.TestCase
TestMemoryAgainstAModel.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestSQLiteAgainstAModel = SQLiteMachine.TestCase
TestSQLiteAgainstAModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
