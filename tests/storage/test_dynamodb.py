"""The DynamoDB adapter keeps the contracts on an engine over HTTP, and the limits of items, partitions and loops."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from mcp_edge.errors import ConfigurationError, StoreUnavailable
from mcp_edge.storage.dynamodb import DynamoDBAtomics, DynamoDBRecords, open_dynamodb
from mcp_edge.storage.dynamodb_client import DynamoDBClient, DynamoDBRefused
from mcp_edge.storage.dynamodb_table import PART_BYTES, DynamoDBTable, create_table
from mcp_edge.storage.ports import Entry
from tests.storage.atomic_contract import AtomicStoreContract
from tests.storage.record_contract import ORDERED, RecordStoreContract
from tests.storage.test_models import Machine
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

LARGE = 5 * 1024 * 1024


def everything_together(_: str) -> str:
    """The contracts' keys and prefixes are of every form; in one partition, every prefix can be answered."""
    return "all"


class Watched(DynamoDBClient):
    """A client that tells its operations, each before it is sent."""

    async def told(self, operation: str, body: Mapping[str, Any]) -> None:
        """Override it."""

    async def call(self, operation: str, body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        await self.told(operation, body)
        return await super().call(operation, body, **more)


class Counting(Watched):
    """A client that counts its operations, and those of them that read consistently."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint, None)
        self.counted: Counter[str] = Counter()
        self.consistent: Counter[str] = Counter()

    async def told(self, operation: str, body: Mapping[str, Any]) -> None:
        self.counted[operation] += 1
        self.consistent[operation] += body.get("ConsistentRead", False)


class Overtaken(Watched):
    """A client that another writer comes before, each time that it reads the parts of a large value."""

    def __init__(self, endpoint: str, other: Callable[[], Awaitable[object]]) -> None:
        super().__init__(endpoint, None)
        self.other: Callable[[], Awaitable[object]] | None = other

    async def told(self, operation: str, body: Mapping[str, Any]) -> None:
        values = body.get("ExpressionAttributeValues", {})
        if operation == "Query" and values[":pk"]["S"].startswith("p/") and self.other is not None:
            other, self.other = self.other, None
            await other()


async def items(endpoint: str, table: str) -> list[dict[str, Any]]:
    """All that lies in a table, expired or not."""
    client = DynamoDBClient(endpoint, None)
    try:
        return (await client.call("Scan", {"TableName": table, "ConsistentRead": True}))["Items"]
    finally:
        await client.aclose()


@pytest.fixture
async def together(dynamodb: str, table: str, clock: Clock) -> AsyncIterator[Callable[[], DynamoDBTable]]:
    """Opens the same table again and again, each time with a client of its own."""
    opened: list[DynamoDBTable] = []

    def one() -> DynamoDBTable:
        partitions = (everything_together, everything_together)
        opened.append(DynamoDBTable(DynamoDBClient(dynamodb, None), table, clock, partitions=partitions))
        return opened[-1]

    yield one
    for each in opened:
        await each.client.aclose()


class TestDynamoDBRecords(RecordStoreContract):
    large_bytes = LARGE

    @pytest.fixture
    def store(self, together: Callable[[], DynamoDBTable]) -> DynamoDBRecords:
        return DynamoDBRecords(together())

    @pytest.fixture
    def peer(self, together: Callable[[], DynamoDBTable]) -> DynamoDBRecords:
        return DynamoDBRecords(together())


class TestDynamoDBAtomics(AtomicStoreContract):
    large_bytes = LARGE

    @pytest.fixture
    def store(self, together: Callable[[], DynamoDBTable]) -> DynamoDBAtomics:
        return DynamoDBAtomics(together())

    @pytest.fixture
    def peer(self, together: Callable[[], DynamoDBTable]) -> DynamoDBAtomics:
        return DynamoDBAtomics(together())


def test_any_sequence_of_operations_answers_as_on_a_dict(dynamodb: str) -> None:
    class DynamoDBMachine(Machine):
        def open(self) -> tuple[DynamoDBRecords, DynamoDBAtomics]:
            name = f"table-{uuid4().hex}"
            self.run(create_table(name, endpoint_url=dynamodb))
            partitions = (everything_together, everything_together)
            table = DynamoDBTable(DynamoDBClient(dynamodb, None), name, self.clock, partitions=partitions)
            return DynamoDBRecords(table), DynamoDBAtomics(table)

    run_state_machine_as_test(  # pyright: ignore[reportUnknownVariableType] - hypothesis does not say
        DynamoDBMachine, settings=settings(max_examples=15, stateful_step_count=30, deadline=None)
    )


@pytest.fixture
async def stores(dynamodb: str, table: str, clock: Clock) -> AsyncIterator[tuple[DynamoDBRecords, DynamoDBAtomics]]:
    """Both ports as a server opens them."""
    records, atomics = open_dynamodb(table, endpoint_url=dynamodb, clock=clock)
    yield records, atomics
    await records.aclose()


Stores = tuple[DynamoDBRecords, DynamoDBAtomics]


async def test_keys_that_share_their_first_two_parts_are_read_in_order(stores: Stores) -> None:
    records, atomics = stores
    inside = ["a/" + key for key in ORDERED]
    for key in [*reversed(inside), "a/p", "a/p0", "a/q/1", "b/p/1", "a"]:
        await records.put(key, b"")
        await atomics.create(key, key.encode(), nonce="n1")
    assert await records.list("a/p/") == inside == sorted(inside, key=str.encode)
    assert await records.list("a/p/a/") == ["a/p/a/b"]
    assert await atomics.read("a/p/", after="a/p/a", limit=2) == [
        Entry(k, k.encode(), 1) for k in ("a/p/a/b", "a/p/a0")
    ]
    assert await atomics.read("a/p/", after="a/q") == []
    assert [await atomics.get(key) for key in ("a", "a/p")] == [Entry("a", b"a", 1), Entry("a/p", b"a/p", 1)]


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/p"])
async def test_a_prefix_that_several_partitions_share_is_refused(stores: Stores, prefix: str) -> None:
    records, atomics = stores
    with pytest.raises(ValueError, match="within the first two parts"):
        await records.list(prefix)
    with pytest.raises(ValueError, match="within the first two parts"):
        await atomics.read(prefix)


async def test_the_two_ports_keep_their_records_apart(stores: Stores) -> None:
    records, atomics = stores
    await records.put("a/b/c", b"record")
    await atomics.create("a/b/c", b"atomic", nonce="n1")
    await records.delete("a/b/c")
    assert await records.get("a/b/c") is None
    assert await atomics.read("a/b/") == [Entry("a/b/c", b"atomic", 1)]


async def test_an_item_expires_where_dynamodb_and_the_port_say_the_same_second(
    dynamodb: str, table: str, clock: Clock, stores: Stores
) -> None:
    clock.advance(0.5)
    records, atomics = stores
    await records.put("a/b", b"", ttl_s=60)
    await atomics.create("a/b", b"", nonce="n1", ttl_s=60.25)
    await atomics.swap("a/b", b"", version=1, nonce="n2", ttl_s=60.25)
    assert [item["ttl"]["N"] for item in await items(dynamodb, table)] == [str(ceil(clock.now + 60))] * 2


async def test_a_page_full_of_expired_records_is_not_the_end(stores: Stores, clock: Clock) -> None:
    _, atomics = stores
    for n in range(40):
        await atomics.create(f"a/b/{n:02}", b"", nonce="n1", ttl_s=None if n == 39 else 60)
    clock.advance(60)
    assert [entry.key for entry in await atomics.read("a/b/", limit=2)] == ["a/b/39"]


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, LARGE])
async def test_values_around_the_size_of_an_item_come_back_whole(stores: Stores, size: int) -> None:
    records, atomics = stores
    key, value = "k" * 250 + "/" + "k" * 260 + "/", os.urandom(size)
    await records.put(key, value)
    await atomics.create(key, value, nonce="n" * 100)
    assert await records.get(key) == value
    assert await atomics.swap(key, value[::-1], version=1, nonce="m" * 100) == 2
    assert await atomics.read(key) == [Entry(key, value[::-1], 2)]


async def test_parts_that_no_record_points_to_do_not_stay(dynamodb: str, table: str, stores: Stores) -> None:
    records, atomics = stores
    large = bytes(PART_BYTES + 1)
    await records.put("a/b", large)
    await records.put("a/b", large)
    await records.put("a/b", b"small")
    await atomics.create("a/b", large, nonce="n1")
    assert await atomics.create("a/b", large, nonce="n2") is False
    assert await atomics.swap("a/b", large, version=7, nonce="n3") is None
    assert await atomics.swap("a/b", large, version=1, nonce="n4") == 2
    assert await atomics.swap("a/b", b"small", version=2, nonce="n5") == 3
    await atomics.create("a/c", large, nonce="n1")
    await atomics.delete("a/c")
    assert sorted(item["pk"]["S"] for item in await items(dynamodb, table)) == ["a/a/b", "r/a/b"]


async def test_parts_do_not_wait_for_their_expiry_when_a_write_replaces_them(
    dynamodb: str, table: str, stores: Stores
) -> None:
    records, atomics = stores
    large = bytes(PART_BYTES + 1)
    await atomics.create("a/b", large, nonce="n", ttl_s=4200)
    for version in range(1, 6):
        assert await atomics.swap("a/b", large, version=version, nonce=f"n{version}", ttl_s=4200) == version + 1
        await records.put("a/b", large, ttl_s=4200)
    left = sorted(item["pk"]["S"][:2] for item in await items(dynamodb, table))
    assert await records.get("a/b") == large
    await records.delete("a/b")
    await atomics.delete("a/b")
    assert (left, await items(dynamodb, table)) == (["a/", "p/", "p/", "p/", "p/", "r/"], [])


async def test_parts_outlive_the_record_that_points_to_them_and_expire(
    dynamodb: str, table: str, clock: Clock, stores: Stores
) -> None:
    _, atomics = stores
    await atomics.create("a/b", bytes(PART_BYTES + 1), nonce="n1", ttl_s=60)
    parts = [item for item in await items(dynamodb, table) if item["pk"]["S"].startswith("p/")]
    assert [int(part["ttl"]["N"]) > clock.now + 3600 for part in parts] == [True, True]


@pytest.mark.parametrize("newer", [b"small", bytes(2 * PART_BYTES), None])
async def test_a_reader_that_a_writer_overtakes_gets_the_newer_record(
    dynamodb: str, table: str, stores: Stores, newer: bytes | None
) -> None:
    _, atomics = stores

    async def overtake() -> None:
        if newer is None:
            await atomics.delete("a/b/c")
        else:
            await atomics.swap("a/b/c", newer, version=1, nonce="n2")

    expected = None if newer is None else Entry("a/b/c", newer, 2)
    for whole in (False, True):
        await atomics.create("a/b/c", b"old" * PART_BYTES, nonce="n1")
        client = Overtaken(dynamodb, overtake)
        reader = DynamoDBAtomics(DynamoDBTable(client, table))
        if whole:
            assert await reader.read("a/b/") == [entry for entry in [expected] if entry]
        else:
            assert await reader.get("a/b/c") == expected
        assert client.other is None
        await atomics.delete("a/b/c")
        await client.aclose()


async def test_a_reader_never_sees_a_large_value_half_written(dynamodb: str, table: str, stores: Stores) -> None:
    _, atomics = stores
    peer, reader = (open_dynamodb(table, endpoint_url=dynamodb) for _ in range(2))
    size = 2 * PART_BYTES
    await atomics.create("a/b/c", b"0" * size, nonce="n0")
    done = anyio.Event()
    seen: list[set[int]] = []

    async def write() -> None:
        for n in range(1, 8):
            store = (atomics, peer[1])[n % 2]
            assert await store.swap("a/b/c", b"%d" % n * size, version=n, nonce=f"n{n}") == n + 1
        done.set()

    async def read() -> None:
        while not done.is_set():
            found = await reader[1].read("a/b/")
            seen.extend(set(entry.value) for entry in found)
            assert [len(entry.value) for entry in found] == [size]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        tasks.start_soon(read)
    assert [len(values) for values in seen] == [1] * len(seen)
    assert len(seen) > 1
    await peer[0].aclose()
    await reader[0].aclose()


async def test_each_call_of_a_port_is_one_operation(dynamodb: str, table: str) -> None:
    client = Counting(dynamodb)
    shared = DynamoDBTable(client, table)
    records, atomics = DynamoDBRecords(shared), DynamoDBAtomics(shared)
    await records.put("a/b/c", b"")
    await records.get("a/b/c")
    await records.list("a/b/")
    await records.delete("a/b/c")
    await atomics.create("a/b/c", b"", nonce="n1")
    await atomics.swap("a/b/c", b"", version=1, nonce="n2")
    await atomics.get("a/b/c")
    await atomics.read("a/b/")
    await atomics.delete("a/b/c")
    await records.sweep()
    await atomics.sweep()
    assert client.counted == {"GetItem": 2, "PutItem": 2, "UpdateItem": 1, "Query": 2, "DeleteItem": 2}
    assert +client.consistent == {"GetItem": 2, "Query": 2}
    await client.aclose()


LOOPS = """
import asyncio, sys
from mcp_edge.storage.dynamodb import open_dynamodb

records, atomics = open_dynamodb(sys.argv[1], endpoint_url=sys.argv[2])

async def use(n):
    await records.put(f"a/b/{n}", b"")
    await atomics.create("a/b", b"", nonce="n1")
    return await records.list("a/b/")

print([asyncio.run(use(n)) for n in range(3)])
"""


async def test_requests_may_come_on_one_event_loop_after_another(dynamodb: str, table: str) -> None:
    # In a process of its own, because a loop that ended without `aclose` leaves connections that nobody can close.
    command = [sys.executable, "-c", LOOPS, table, dynamodb]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[['a/b/0'], ['a/b/0', 'a/b/1'], ['a/b/0', 'a/b/1', 'a/b/2']]\n"


async def test_making_a_table_again_changes_nothing(dynamodb: str, table: str, stores: Stores) -> None:
    await stores[0].put("a/b", b"one")
    await create_table(table, endpoint_url=dynamodb)
    assert await stores[0].get("a/b") == b"one"
    client = DynamoDBClient(dynamodb, None)
    described = await client.call("DescribeTimeToLive", {"TableName": table})
    assert described["TimeToLiveDescription"]["AttributeName"] == "ttl"
    await client.aclose()


async def test_a_table_that_is_not_there_is_a_mistake_of_the_operator(dynamodb: str) -> None:
    records, _ = open_dynamodb("not-there", endpoint_url=dynamodb)
    with pytest.raises(ConfigurationError, match=r"refused the table not-there: 400 ResourceNotFoundException"):
        await records.get("start")
    await records.aclose()


async def test_a_table_that_goes_away_while_the_server_runs_is_an_outage(dynamodb: str, table: str) -> None:
    records, atomics = open_dynamodb(table, endpoint_url=dynamodb)
    await records.put("a/b", b"")
    client = DynamoDBClient(dynamodb, None)
    await client.call("DeleteTable", {"TableName": table})
    with pytest.raises(StoreUnavailable, match="ResourceNotFoundException"):
        await atomics.get("a/b")
    await client.aclose()
    await records.aclose()


async def test_a_mistake_of_ours_is_not_called_an_outage(dynamodb: str, table: str) -> None:
    client = DynamoDBClient(dynamodb, None)
    with pytest.raises(DynamoDBRefused, match="ValidationException"):
        await client.call("GetItem", {"TableName": table, "Key": {"pk": {"S": "a"}}})
    await client.aclose()


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str) -> str:
    """A table, for an environment that says nothing about AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return table


@pytest.mark.usefixtures("no_aws")
async def test_a_server_without_a_region_is_told_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="set AWS_REGION"):
        open_dynamodb("my-table")


async def test_a_server_without_credentials_is_told_what_to_set(dynamodb_url: str, no_aws: str) -> None:
    records, _ = open_dynamodb(no_aws, endpoint_url=dynamodb_url, region="us-east-1")
    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        await records.get("start")


async def test_region_and_credentials_of_a_profile_are_found(dynamodb_url: str, no_aws: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nregion = us-east-1\n")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    records, _ = open_dynamodb(no_aws, endpoint_url=dynamodb_url)
    await records.put("a/b", b"one")
    assert await records.get("a/b") == b"one"
    await records.aclose()


@pytest.mark.parametrize(
    ("region", "environment", "endpoint"),
    [
        ("eu-north-1", {}, "https://dynamodb.eu-north-1.amazonaws.com"),
        ("cn-north-1", {}, "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ("eu-north-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
        (
            "eu-north-1",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:2"},
            "http://127.0.0.1:2",
        ),
    ],
)
def test_the_endpoint_is_the_regions_unless_the_environment_names_one(
    monkeypatch: pytest.MonkeyPatch, region: str, environment: dict[str, str], endpoint: str
) -> None:
    for name, value in {"AWS_REGION": region, **environment}.items():
        monkeypatch.setenv(name, value)
    assert DynamoDBClient(None, None).endpoint_url == endpoint


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4566", "ftp://host", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="is no endpoint"):
        open_dynamodb("my-table", endpoint_url=endpoint, region="us-east-1")
