"""A large value is whole whatever becomes of the answers to its writes; one whose parts are gone is in nobody's way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

import anyio
import pytest

from mcp_edge.storage.dynamodb import DynamoDBAtomics, DynamoDBRecords
from mcp_edge.storage.dynamodb_client import DynamoDBClient
from mcp_edge.storage.dynamodb_table import PART_BYTES, DynamoDBTable
from mcp_edge.storage.ports import Entry
from tests.storage.faulty import CARRIED_OUT, FAULTS, Fault, FaultyProxy, faulty_proxy, first, then_throttled
from tests.storage.test_dynamodb import Watched, items
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

LARGE = b"mine" * (PART_BYTES // 4) + b"!"
"""In two parts."""
OTHER = b"they" * (PART_BYTES // 4) + b"?"


@pytest.fixture
async def proxy(dynamodb: str) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(dynamodb) as proxy:
        yield proxy


@pytest.fixture
async def shaky(proxy: FaultyProxy, table: str, clock: Clock) -> AsyncIterator[DynamoDBTable]:
    """The table behind the proxy."""
    client = DynamoDBClient(proxy.url, None, patience_s=30, timeout_s=0.5)
    yield DynamoDBTable(client, table, clock)
    await client.aclose()


@pytest.fixture
async def steady(dynamodb: str, table: str, clock: Clock) -> AsyncIterator[DynamoDBTable]:
    """The same table for another instance, which has no troubles."""
    client = DynamoDBClient(dynamodb, None)
    yield DynamoDBTable(client, table, clock)
    await client.aclose()


def of_records(proxy: FaultyProxy, plan: Callable[[str], Fault]) -> Callable[[str], Fault]:
    """`plan` for what is no part of a large value."""
    return lambda operation: Fault.NONE if b'"S":"p/' in proxy.body else plan(operation)


async def parts(dynamodb: str, table: str) -> list[dict[str, Any]]:
    """The parts that lie in the table, whoever they belong to."""
    return [item for item in await items(dynamodb, table) if item["pk"]["S"].startswith("p/")]


Ports = tuple[DynamoDBRecords, DynamoDBAtomics]


async def put(ports: Ports) -> None:
    await ports[0].put("a/b", LARGE)


async def create(ports: Ports) -> None:
    assert await ports[1].create("a/b", LARGE, nonce="n1") is True


async def swap(ports: Ports) -> None:
    assert await ports[1].swap("a/b", LARGE, version=1, nonce="n2") == 2


async def put_over(ports: Ports) -> None:
    await ports[0].put("a/b", OTHER)


async def delete(ports: Ports) -> None:
    await ports[0].delete("a/b")
    await ports[1].delete("a/b")


async def create_anew(ports: Ports) -> None:
    await ports[1].delete("a/b")
    assert await ports[1].create("a/b", OTHER, nonce="n3") is True  # as version 1, which the swap asks for


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault in CARRIED_OUT])
@pytest.mark.parametrize(
    ("write", "theirs"),
    [(put, put_over), (put, delete), (create, delete), (swap, create_anew)],
    ids=lambda f: f.__name__,
)
async def test_a_large_value_that_others_replaced_before_its_write_was_repeated_is_stored_whole(
    shaky: DynamoDBTable,
    steady: DynamoDBTable,
    proxy: FaultyProxy,
    fault: Fault,
    write: Callable[[Ports], Coroutine[Any, Any, None]],
    theirs: Callable[[Ports], Coroutine[Any, Any, None]],
) -> None:
    others = DynamoDBRecords(steady), DynamoDBAtomics(steady)
    if write is swap:
        await others[1].create("a/b", b"", nonce="n")
    overtaken = anyio.Event()
    proxy.plan = of_records(proxy, then_throttled(fault, overtaken.is_set))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, (DynamoDBRecords(shaky), DynamoDBAtomics(shaky)))
        with anyio.fail_after(30):
            while LARGE not in (await others[0].get("a/b"), getattr(await others[1].get("a/b"), "value", None)):
                await anyio.lowlevel.checkpoint()
        await theirs(others)
        overtaken.set()
    if write is put:
        assert await others[0].get("a/b") == LARGE
    else:
        assert await others[1].read("a/b/") == []
        assert await others[1].get("a/b") == Entry("a/b", LARGE, 2 if write is swap else 1)
    assert len(await parts(steady.client.endpoint_url, steady.name)) == 2


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.BROKEN])
async def test_the_parts_of_a_write_that_was_refused_do_not_stay(
    shaky: DynamoDBTable, steady: DynamoDBTable, proxy: FaultyProxy, fault: Fault
) -> None:
    """Those of the attempt that may still be carried out stay until they expire."""
    others, overtaken = DynamoDBAtomics(steady), anyio.Event()
    await others.create("a/b", b"", nonce="n")
    proxy.plan = of_records(proxy, then_throttled(fault, overtaken.is_set))
    answers: list[int | None] = []

    async def write() -> None:
        answers.append(await DynamoDBAtomics(shaky).swap("a/b", LARGE, version=1, nonce="n1", ttl_s=60))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        with anyio.fail_after(30):
            while proxy.counted["UpdateItem"] < 2:
                await anyio.lowlevel.checkpoint()
        entry = await others.get("a/b")
        assert entry is not None
        assert await others.swap("a/b", b"theirs", version=entry.version, nonce="n2") == entry.version + 1
        overtaken.set()
    assert answers == [2 if fault is Fault.LOST else None]
    left = await parts(steady.client.endpoint_url, steady.name)
    assert (len(left), ["ttl" in part for part in left]) == ((0, []) if fault is Fault.LOST else (2, [True, True]))


@pytest.mark.parametrize(
    ("faults", "written"),
    [
        ((), 2 + 1),
        ((Fault.THROTTLED, Fault.THROTTLED), 2 + 3),  # it was not carried out: its parts are good
        ((Fault.LOST,), 4 + 2),
        ((Fault.LOST, Fault.THROTTLED, Fault.BROKEN), 6 + 4),
    ],
)
async def test_parts_are_written_again_only_after_an_attempt_that_may_have_been_carried_out(
    shaky: DynamoDBTable, proxy: FaultyProxy, faults: tuple[Fault, ...], written: int
) -> None:
    shaky.client = DynamoDBClient(proxy.url, None, patience_s=30, timeout_s=30)
    for port in (DynamoDBRecords(shaky), DynamoDBAtomics(shaky)):
        proxy.plan = of_records(proxy, first(*faults))
        if isinstance(port, DynamoDBRecords):
            await port.put("a/b", LARGE)
        else:
            assert await port.create("a/b", LARGE, nonce="n1") is True
        assert proxy.counted.pop("PutItem") == written
    assert await DynamoDBRecords(shaky).get("a/b") == LARGE
    assert await DynamoDBAtomics(shaky).get("a/b") == Entry("a/b", LARGE, 1)
    await shaky.client.aclose()


async def lose(table: DynamoDBTable, *numbers: int) -> None:
    """Remove these parts of every large value."""
    for part in await parts(table.client.endpoint_url, table.name):
        if int(part["sk"]["S"]) in numbers:
            await table.call("DeleteItem", Key={name: part[name] for name in ("pk", "sk")})


@pytest.mark.parametrize("numbers", [(0,), (1,), (0, 1)])
async def test_a_record_that_has_lost_its_parts_is_removed_and_does_not_hide_its_neighbours(
    steady: DynamoDBTable, numbers: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    records, atomics = DynamoDBRecords(steady), DynamoDBAtomics(steady)
    await records.put("a/b/2", LARGE)
    for n in (1, 2, 3):
        await atomics.create(f"a/b/{n}", LARGE if n == 2 else b"small", nonce="n1")
    await lose(steady, *numbers)
    assert await atomics.read("a/b/") == [Entry("a/b/1", b"small", 1), Entry("a/b/3", b"small", 1)]
    assert (await records.get("a/b/2"), await records.list("a/b/")) == (None, [])
    assert await parts(steady.client.endpoint_url, steady.name) == []
    assert await atomics.create("a/b/2", OTHER, nonce="n2") is True
    assert await atomics.get("a/b/2") == Entry("a/b/2", OTHER, 1)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "DynamoDB: the parts of the large record a/b/2 are gone; what is left of it is removed"
    ] * 2


class Replaced(Watched):
    """A client that another writer comes before when it removes a record."""

    def __init__(self, endpoint: str, other: Callable[[], Awaitable[object]]) -> None:
        super().__init__(endpoint, None)
        self.other: Callable[[], Awaitable[object]] | None = other

    async def told(self, operation: str, body: Mapping[str, Any]) -> None:
        other = self.other
        if operation == "DeleteItem" and other is not None:
            self.other = None
            await other()


@pytest.mark.parametrize("newer", [b"small", OTHER, None])
async def test_a_record_that_is_written_anew_before_its_remains_are_removed_stays(
    dynamodb: str, steady: DynamoDBTable, newer: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    records = DynamoDBRecords(steady)
    await records.put("a/b", LARGE)
    await lose(steady, 0)

    async def overtake() -> None:
        await (records.delete("a/b") if newer is None else records.put("a/b", newer))

    client = Replaced(dynamodb, overtake)
    assert await DynamoDBRecords(DynamoDBTable(client, steady.name, steady.clock)).get("a/b") == newer
    assert client.other is None
    assert await records.get("a/b") == newer
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    await client.aclose()
