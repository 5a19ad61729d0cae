"""Throttling, timeouts, 5xx and lost answers between the adapter and DynamoDB: nothing is lost, nothing is doubled."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import pytest

from mcp_edge.errors import ConfigurationError, StoreUnavailable
from mcp_edge.storage.dynamodb import PAST, DynamoDBAtomics, DynamoDBRecords
from mcp_edge.storage.dynamodb_client import DynamoDBClient
from mcp_edge.storage.dynamodb_table import PART_BYTES, DynamoDBTable
from mcp_edge.storage.ports import AtomicStore, Entry
from tests.storage.faulty import CARRIED_OUT, FAULTS, Fault, FaultyProxy, faulty_proxy, first, then_throttled
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxy(dynamodb: str) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(dynamodb) as proxy:
        yield proxy


def through(url: str, table: str, clock: Clock, *, patience_s: float = 30, timeout_s: float = 0.5) -> DynamoDBTable:
    """A table behind a client that soon takes silence for a timeout."""
    return DynamoDBTable(DynamoDBClient(url, None, patience_s=patience_s, timeout_s=timeout_s), table, clock)


@pytest.fixture
async def shaky(proxy: FaultyProxy, table: str, clock: Clock) -> AsyncIterator[DynamoDBTable]:
    """The table behind the proxy."""
    opened = through(proxy.url, table, clock, timeout_s=0.25)
    yield opened
    await opened.client.aclose()


@pytest.fixture
async def steady(dynamodb: str, table: str, clock: Clock) -> AsyncIterator[DynamoDBTable]:
    """The same table for another instance, which has no troubles."""
    opened = DynamoDBTable(DynamoDBClient(dynamodb, None), table, clock)
    yield opened
    await opened.client.aclose()


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_call_of_both_ports_goes_through_a_fault(
    shaky: DynamoDBTable, proxy: FaultyProxy, fault: Fault
) -> None:
    records, atomics = DynamoDBRecords(shaky), DynamoDBAtomics(shaky)
    answers: list[object] = []
    for call in (
        lambda: records.put("a/b/c", b"one", ttl_s=60),
        lambda: records.get("a/b/c"),
        lambda: records.list("a/b/"),
        lambda: records.delete("a/b/c"),
        lambda: records.get("a/b/c"),
        lambda: atomics.create("a/b/c", b"one", nonce="n1"),
        lambda: atomics.create("a/b/c", b"two", nonce="n2"),
        lambda: atomics.get("a/b/c"),
        lambda: atomics.swap("a/b/c", b"two", version=1, nonce="n3"),
        lambda: atomics.swap("a/b/c", b"three", version=1, nonce="n4"),
        lambda: atomics.read("a/b/"),
        lambda: atomics.delete("a/b/c"),
        lambda: atomics.read("a/b/"),
    ):
        proxy.plan = first(*[fault] * (1 if fault in (Fault.SILENT, Fault.SILENT_AFTER) else 2))
        answers.append(await call())
    expected = [None, b"one", ["a/b/c"], None, None, True, False, Entry("a/b/c", b"one", 1), 2, None]
    assert answers == [*expected, [Entry("a/b/c", b"two", 2)], None, []]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault in CARRIED_OUT])
async def test_a_write_whose_answer_was_lost_has_won_although_others_wrote_since(
    shaky: DynamoDBTable, steady: DynamoDBTable, proxy: FaultyProxy, fault: Fault
) -> None:
    atomics, others = DynamoDBAtomics(shaky), DynamoDBAtomics(steady)

    async def create() -> None:
        assert await atomics.create("a/b", b"mine", nonce="n1") is True

    async def swap() -> None:
        assert await atomics.swap("a/b", b"mine again", version=2, nonce="n3") == 3

    for version, work in ((1, create), (3, swap)):
        overtaken = anyio.Event()
        proxy.plan = then_throttled(fault, overtaken.is_set)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await version_comes(others, version)
            assert await others.swap("a/b", b"theirs", version=version, nonce=f"n{version + 1}") == version + 1
            overtaken.set()
    assert await others.get("a/b") == Entry("a/b", b"theirs", 4)


async def version_comes(store: AtomicStore, version: int) -> None:
    """Wait until a/b has this version."""
    with anyio.fail_after(20):
        while (found := await store.get("a/b")) is None or found.version != version:
            await anyio.lowlevel.checkpoint()


async def test_a_write_that_nobody_can_tell_about_is_neither_won_nor_lost(
    shaky: DynamoDBTable, steady: DynamoDBTable, proxy: FaultyProxy
) -> None:
    atomics, others = DynamoDBAtomics(shaky), DynamoDBAtomics(steady)
    await others.create("a/b", b"", nonce="n")
    overtaken = anyio.Event()
    proxy.plan = then_throttled(Fault.LOST, overtaken.is_set)

    async def write() -> None:
        with pytest.raises(StoreUnavailable, match="is not known"):
            await atomics.swap("a/b", b"mine", version=1, nonce="n1")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await version_comes(others, 2)
        for version in range(2, 2 + PAST):
            assert await others.swap("a/b", b"theirs", version=version, nonce=uuid4().hex) == version + 1
        overtaken.set()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in CARRIED_OUT])
async def test_a_write_that_was_not_carried_out_has_lost_to_the_one_that_came_before_its_repetition(
    shaky: DynamoDBTable, steady: DynamoDBTable, proxy: FaultyProxy, fault: Fault
) -> None:
    atomics, others = DynamoDBAtomics(shaky), DynamoDBAtomics(steady)
    await others.create("a/b", b"", nonce="n")
    overtaken = anyio.Event()
    proxy.plan = then_throttled(fault, overtaken.is_set)
    answers: list[int | None] = []

    async def write() -> None:
        answers.append(await atomics.swap("a/b", b"mine", version=1, nonce="n1"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        with anyio.fail_after(20):
            while proxy.counted["UpdateItem"] == 0:
                await anyio.lowlevel.checkpoint()
        assert await others.swap("a/b", b"theirs", version=1, nonce="n2") == 2
        overtaken.set()
    assert answers == [None]
    assert await others.get("a/b") == Entry("a/b", b"theirs", 2)


async def test_counts_and_logs_are_exact_when_one_request_in_three_fails(
    shaky: DynamoDBTable, steady: DynamoDBTable, proxy: FaultyProxy
) -> None:
    chance = random.Random(20261107)
    faults = [fault for fault in FAULTS if fault not in (Fault.SILENT, Fault.SILENT_AFTER)]
    proxy.plan = lambda _: chance.choice(faults) if chance.random() < 1 / 3 else Fault.NONE
    atomics, truth = DynamoDBAtomics(shaky), DynamoDBAtomics(steady)
    await truth.create("count/a", b"0", nonce="n")
    counted: list[int] = []
    logged: list[str] = []
    unknown: list[str] = []

    async def add(store: AtomicStore, writer: int) -> None:
        for n in range(8):
            while True:
                entry = await store.get("count/a")
                assert entry is not None
                value = str(int(entry.value) + 1).encode()
                try:
                    version = await store.swap("count/a", value, version=entry.version, nonce=uuid4().hex)
                except StoreUnavailable as e:  # others wrote more than `PAST` versions since
                    unknown.append(str(e))
                    continue
                if version is not None:
                    counted.append(version)
                    break
            await append(store, f"{writer}/{n}")

    async def append(store: AtomicStore, text: str) -> None:
        while True:
            number = len(await store.read("log/a/"))
            if await store.create(f"log/a/{number:04}", text.encode(), nonce=uuid4().hex):
                logged.append(text)
                return

    async with anyio.create_task_group() as tasks:
        for writer in range(4):
            tasks.start_soon(add, atomics, writer)
    # Every version was won by one writer at most, and every line was written once.
    count = await truth.get("count/a")
    assert count is not None
    assert int(count.value) == count.version - 1
    assert 32 <= int(count.value) <= 32 + len(unknown)
    assert len(counted) == len(set(counted)) == 32
    log = await truth.read("log/a/")
    assert [entry.key for entry in log] == [f"log/a/{n:04}" for n in range(32)]
    assert sorted(entry.value.decode() for entry in log) == sorted(logged)
    assert len(set(logged)) == 32
    assert sum(proxy.counted.values()) > 150


async def test_a_large_value_is_there_whole_or_not_at_all(
    shaky: DynamoDBTable, steady: DynamoDBTable, proxy: FaultyProxy, table: str, clock: Clock
) -> None:
    value = random.Random(1).randbytes(3 * PART_BYTES)
    impatient = through(proxy.url, table, clock, patience_s=1)
    proxy.plan = first(Fault.NONE, Fault.NONE, *[Fault.THROTTLED] * 1000)
    with pytest.raises(StoreUnavailable, match="ProvisionedThroughputExceededException"):
        await DynamoDBAtomics(impatient).create("a/b/c", value, nonce="n1")
    assert await DynamoDBAtomics(steady).read("a/b/") == []
    proxy.plan = first(Fault.LOST, Fault.CUT, Fault.THROTTLED, Fault.BROKEN_AFTER, Fault.NONE, Fault.LOST)
    assert await DynamoDBAtomics(shaky).create("a/b/c", value, nonce="n1") is True
    proxy.plan = first(Fault.CUT, Fault.NONE, Fault.LOST)
    assert await DynamoDBAtomics(shaky).get("a/b/c") == Entry("a/b/c", value, 1)
    await impatient.client.aclose()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.THROTTLED, "400 ProvisionedThroughputExceededException"),
        (Fault.BROKEN, "500 InternalServerError"),
        (Fault.CLOSED, "closed|peer"),
        (Fault.SILENT, "TimeoutError"),
    ],
)
async def test_a_fault_that_lasts_is_an_outage_that_ends_with_it(
    proxy: FaultyProxy, steady: DynamoDBTable, table: str, clock: Clock, fault: Fault, said: str
) -> None:
    await DynamoDBRecords(steady).put("a/b", b"one")
    impatient = through(proxy.url, table, clock, patience_s=1)
    proxy.plan = lambda _: fault
    with anyio.fail_after(20), pytest.raises(StoreUnavailable, match=rf"no success in 1 s: .*({said})"):
        await DynamoDBRecords(impatient).get("a/b")
    assert proxy.counted["GetItem"] > 1
    proxy.plan = first()
    assert await DynamoDBRecords(impatient).get("a/b") == b"one"
    await impatient.client.aclose()


async def test_an_endpoint_that_nobody_listens_on_is_an_outage(table: str, clock: Clock) -> None:
    nobody = through("http://127.0.0.1:1", table, clock, patience_s=0.3)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        await DynamoDBRecords(nobody).get("a/b")


async def test_connections_that_were_closed_meanwhile_cost_no_answer(shaky: DynamoDBTable, proxy: FaultyProxy) -> None:
    atomics = DynamoDBAtomics(shaky)
    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(lambda n: atomics.create(f"a/b/{n}", b"", nonce="n1"), n)
    await proxy.aclose()  # as a frozen environment finds its connections
    assert [entry.key for entry in await atomics.read("a/b/")] == [f"a/b/{n}" for n in range(8)]


async def test_a_cancelled_call_leaves_a_client_that_works(shaky: DynamoDBTable, proxy: FaultyProxy) -> None:
    records = DynamoDBRecords(shaky)
    await records.put("a/b", b"one")
    proxy.plan = first(Fault.SILENT)
    with anyio.move_on_after(0.05) as scope:
        await records.get("a/b")
    assert scope.cancelled_caught
    assert await records.get("a/b") == b"one"


async def test_credentials_that_are_refused_are_a_mistake_of_the_operator_until_they_have_worked(
    proxy: FaultyProxy, shaky: DynamoDBTable, table: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.storage.faulty._answer", _expired)
    records = DynamoDBRecords(shaky)
    proxy.plan = first(Fault.THROTTLED)
    with pytest.raises(ConfigurationError, match="ExpiredTokenException"):
        await records.get("start")
    assert await records.get("start") is None
    proxy.plan = first(Fault.THROTTLED)
    with pytest.raises(StoreUnavailable, match="ExpiredTokenException"):
        await records.get("start")


def _expired(_status: bytes, _kind: str) -> bytes:
    body = b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token is expired"}'
    return b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
