"""A Worker gets the stores that its bindings can carry; what they cannot carry is refused by name."""

from __future__ import annotations

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.storage.cached import Cached
from mcp_edge.storage.cloudflare import NEEDS_D1, DowngradedAtomics, open_cloudflare
from mcp_edge.storage.cloudflare_d1 import D1Atomics, D1Records
from mcp_edge.storage.cloudflare_kv import KVRecords
from tests.storage.atomic_contract import AtomicStoreContract
from tests.support.clock import Clock
from tests.support.miniflare import D1, KV, Bridge

pytestmark = pytest.mark.anyio


class TestDowngradedAtomics(AtomicStoreContract):
    """Within one isolate it keeps the contract."""

    @pytest.fixture
    def store(self, clock: Clock) -> DowngradedAtomics:
        return DowngradedAtomics(clock)


@pytest.mark.parametrize("prefix", NEEDS_D1)
async def test_what_needs_d1_is_refused_without_it(clock: Clock, prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="need the D1 binding"):
        await DowngradedAtomics(clock).create(f"{prefix}1", b"", nonce="n1")


@pytest.mark.parametrize(
    ("kv", "d1", "kinds"),
    [
        (True, True, (Cached, D1Atomics)),
        (False, True, (D1Records, D1Atomics)),
        (True, False, (KVRecords, DowngradedAtomics)),
    ],
    ids=["both", "D1 alone", "KV alone"],
)
async def test_the_bindings_decide_the_stores(
    engine: Bridge, clock: Clock, kv: bool, d1: bool, kinds: tuple[type, type]
) -> None:
    records, atomics = open_cloudflare(KV(engine) if kv else None, D1(engine) if d1 else None, clock)
    assert (type(records), type(atomics)) == kinds
    await records.put("session/1", b"one", ttl_s=60)
    await atomics.create("lease/1", b"", nonce="n1", ttl_s=60)
    assert await records.get("session/1") == b"one"
    clock.advance(60)
    await records.sweep()
    await atomics.sweep()
    assert (await records.get("session/1"), await atomics.get("lease/1")) == (None, None)
    await records.aclose()
    await atomics.aclose()


def test_a_worker_without_bindings_is_told_which_it_needs() -> None:
    with pytest.raises(ConfigurationError, match="D1 binding DB"):
        open_cloudflare(None, None)
