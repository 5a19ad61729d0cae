"""The end of a long run of numbered entries is found with few operations, on every engine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import SecretStr

from mcp_edge.platform import Platform
from mcp_edge.records.mailbox import Mailbox
from mcp_edge.records.numbering import last_number
from mcp_edge.settings import Settings
from mcp_edge.storage.ports import AtomicStore
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


class Counted:
    """A store that counts what it is asked for."""

    def __init__(self, store: AtomicStore) -> None:
        self._store = store
        self.done: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.done[name] += 1
        return getattr(self._store, name)


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Counted:
    return Counted(request.getfixturevalue(f"{request.param}_ports")[1])


def box(store: Any, clock: Clock, sent: int = 0) -> Mailbox:
    return Mailbox(Platform(Settings(secret_keys=(SecretStr("k" * 43),)), store, store, clock=clock), "s" * 32, sent)


def key(number: int) -> str:
    return f"outbox/{'s' * 32}/{number:08d}"


async def test_who_comes_back_from_the_beginning_writes_at_the_end_at_once(store: Counted, clock: Clock) -> None:
    first = box(store, clock)
    for n in range(150):
        await first.append(b"%d" % n)
    store.done.clear()
    late = box(store, clock)
    numbers = [await late.append(b"late"), await late.append(b"later"), await first.append(b"again")]

    assert numbers == [151, 152, 153]
    assert store.done["create"] <= 5
    assert store.done["read"] <= 24


@pytest.mark.parametrize("number", [0, 1, 2, 36, 37, 50])
async def test_the_last_number_is_found_from_wherever_it_is_looked_for(store: Counted, number: int) -> None:
    for n in range(1, 38):
        await store.create(key(n), b"x", nonce="n")
    await store.create(f"outbox/{'t' * 32}/{99:08d}", b"another's", nonce="n")

    assert await last_number(store, key, number) == max(37, number)  # pyright: ignore[reportArgumentType] # a proxy
