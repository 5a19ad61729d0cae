"""The KV and D1 adapters keep the contracts on Miniflare's KV and D1."""

from __future__ import annotations

import pytest

from mcp_edge.storage.cached import cached
from mcp_edge.storage.cloudflare_d1 import D1Atomics, D1Records, open_d1
from mcp_edge.storage.cloudflare_kv import KVRecords
from mcp_edge.storage.ports import RecordStore
from tests.storage.atomic_contract import AtomicStoreContract
from tests.storage.clock import Clock
from tests.storage.miniflare import D1, KV, Bridge
from tests.storage.record_contract import RecordStoreContract

pytestmark = pytest.mark.anyio


class TestKVRecords(RecordStoreContract):
    @pytest.fixture
    def store(self, engine: Bridge, clock: Clock) -> KVRecords:
        return KVRecords(KV(engine), clock)

    @pytest.fixture
    def peer(self, engine: Bridge, clock: Clock) -> KVRecords:
        return KVRecords(KV(engine), clock)


class TestD1Records(RecordStoreContract):
    @pytest.fixture
    def store(self, engine: Bridge, clock: Clock) -> D1Records:
        return open_d1(D1(engine), clock)[0]

    @pytest.fixture
    def peer(self, engine: Bridge, clock: Clock) -> D1Records:
        return open_d1(D1(engine), clock)[0]


class TestD1Atomics(AtomicStoreContract):
    @pytest.fixture
    def store(self, engine: Bridge, clock: Clock) -> D1Atomics:
        return open_d1(D1(engine), clock)[1]

    @pytest.fixture
    def peer(self, engine: Bridge, clock: Clock) -> D1Atomics:
        return open_d1(D1(engine), clock)[1]


class TestKVBeforeD1(RecordStoreContract):
    """Every key is in both."""

    @pytest.fixture
    def store(self, engine: Bridge, clock: Clock) -> RecordStore:
        return cached(KVRecords(KV(engine), clock), truth=open_d1(D1(engine), clock)[0], prefixes=("",), clock=clock)

    @pytest.fixture
    def peer(self, engine: Bridge, clock: Clock) -> RecordStore:
        return cached(KVRecords(KV(engine), clock), truth=open_d1(D1(engine), clock)[0], prefixes=("",), clock=clock)
