"""The KV and D1 adapters keep the contracts on Miniflare's KV and D1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import anyio
import pytest

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.cached import cached
from mcp_edge.storage.cloudflare_d1 import D1Atomics, D1Database, D1Records, open_d1
from mcp_edge.storage.cloudflare_kv import KVRecords
from mcp_edge.storage.javascript import JsException
from mcp_edge.storage.ports import Entry, RecordStore
from tests.storage.atomic_contract import AtomicStoreContract
from tests.storage.record_contract import RecordStoreContract
from tests.support.clock import Clock
from tests.support.miniflare import D1, KV, Bridge, Converted, Statement

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


# -- KV --------------------------------------------------------------------------------------------------------------


async def test_a_life_of_less_than_a_minute_ends_on_time_on_kv(engine: Bridge, clock: Clock) -> None:
    records = KVRecords(KV(engine), clock)
    await records.put("a", b"one", ttl_s=5)
    clock.advance(4)
    assert (await records.get("a"), await records.list("")) == (b"one", ["a"])
    clock.advance(1)
    assert (await records.get("a"), await records.list("")) == (None, [])


async def test_kv_is_told_when_it_may_remove_a_record(engine: Bridge, clock: Clock) -> None:
    records = KVRecords(KV(engine), clock)
    for key, ttl_s in {"brief": 5.0, "long": 3600.5, "endless": None}.items():
        await records.put(key, b"", ttl_s=ttl_s)
    listed = (await KV(engine).list()).to_py()["keys"]
    left_s = {entry["name"]: entry.get("expiration", inf) - clock() for entry in listed}
    assert 60 <= left_s["brief"] < 120
    assert 3601 <= left_s["long"] < 3661
    assert left_s["endless"] == inf


async def test_a_list_goes_through_all_pages_of_kv(
    engine: Bridge, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_edge.storage.cloudflare_kv._PAGE", 3)
    records = KVRecords(KV(engine), clock)
    keys = [f"k/{n}" for n in range(10)]
    for n, key in enumerate(keys):
        await records.put(key, b"", ttl_s=60 if n in (1, 2, 3, 4) else None)
    clock.advance(60)
    assert await records.list("k/") == [keys[0], *keys[5:]]
    assert await records.list("k/", after=keys[0], limit=2) == keys[5:7]


async def test_a_value_in_the_format_of_another_release_is_none_to_this_one(engine: Bridge, clock: Clock) -> None:
    await KV(engine).put("a", "2 something else")
    assert await KVRecords(KV(engine), clock).get("a") is None


async def test_json_takes_as_many_bytes_on_kv_as_it_has(engine: Bridge, clock: Clock) -> None:
    await KVRecords(KV(engine), clock).put("a", b'{"v":1}')
    assert await KV(engine).get("a", "text") == '1 inf\n{"v":1}'


class Failing(KV):
    """A KV namespace whose next writes fail."""

    def __init__(self, bridge: Bridge, *errors: str) -> None:
        super().__init__(bridge)
        self.errors = list(errors)

    async def get(self, key: str, kind: str, /) -> object:
        if self.errors:
            raise JsException(self.errors.pop(0))
        return await super().get(key, kind)

    async def put(self, key: str, value: str, /, **options: float) -> object:
        if self.errors:
            raise JsException(self.errors.pop(0))
        return await super().put(key, value, **options)


TOO_SOON = "Error: KV PUT failed: 429 Too Many Requests"


async def test_a_second_write_of_a_key_within_a_second_waits_for_its_turn(
    engine: Bridge, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_edge.storage.cloudflare_kv._SAME_KEY_S", 0)
    records = KVRecords(Failing(engine, TOO_SOON), clock)
    await records.put("a", b"one")
    assert await records.get("a") == b"one"
    with pytest.raises(StoreUnavailable, match="429"):
        await KVRecords(Failing(engine, TOO_SOON, TOO_SOON), clock).put("a", b"two")


@pytest.mark.parametrize(
    "error", ["Error: KV put() limit exceeded for the day.", "Error: KV GET failed: 503 Service Unavailable", TOO_SOON]
)
async def test_a_kv_that_fails_is_unavailable(engine: Bridge, clock: Clock, error: str) -> None:
    with pytest.raises(StoreUnavailable) as failure:
        await KVRecords(Failing(engine, error), clock).get("a")
    assert isinstance(failure.value.__cause__, JsException)


async def test_a_mistake_of_ours_is_not_called_an_outage_of_kv(engine: Bridge, clock: Clock) -> None:
    with pytest.raises(JsException, match="413"):
        await KVRecords(Failing(engine, "Error: KV PUT failed: 413 Value length exceeds limit"), clock).put("a", b"")


# -- D1 --------------------------------------------------------------------------------------------------------------


async def test_the_tables_are_made_at_the_first_use_by_whoever_comes_first(engine: Bridge, clock: Clock) -> None:
    await engine.ask(reset="new")
    won: list[bool] = []

    async def create(n: int) -> None:
        won.append(await open_d1(D1(engine), clock)[1].create("a", b"", nonce=f"{n}"))

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(create, n)
    assert sorted(won) == [False] * 7 + [True]


async def test_an_operation_is_one_statement(engine: Bridge, clock: Clock) -> None:
    records, atomics = open_d1(D1(engine), clock)
    await records.get("a")
    engine.calls.clear()
    await records.put("a", b"one")
    await records.get("a")
    await records.list("")
    await records.delete("a")
    await atomics.create("a", b"one", nonce="n1")
    await atomics.get("a")
    await atomics.swap("a", b"two", version=1, nonce="n2")
    await atomics.read("")
    await atomics.delete("a")
    assert engine.calls == ["DB.raw"] * 9


class Unsteady(D1):
    """A D1 database that does what it is asked to and then says that it failed.

    With `of`, only statements that begin so fail; `meanwhile` happens before the first failure is told.
    """

    def __init__(
        self, bridge: Bridge, *errors: str, of: str = "", meanwhile: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        super().__init__(bridge)
        self.errors = list(errors)
        self.asked = 0
        self.meanwhile = meanwhile
        self._of = of

    def prepare(self, query: str, /) -> Statement:
        statement = super().prepare(query)
        return _Unsteady(self, statement) if query.startswith(self._of) else statement


class _Unsteady(Statement):
    def __init__(self, database: Unsteady, statement: Statement) -> None:
        self._database = database
        self._statement = statement

    def bind(self, *values: str | float) -> Statement:
        return _Unsteady(self._database, self._statement.bind(*values))

    async def raw(self) -> Converted:
        self._database.asked += 1
        answer = await self._statement.raw()
        if self._database.errors:
            meanwhile, self._database.meanwhile = self._database.meanwhile, None
            if meanwhile is not None:
                await meanwhile()
            raise JsException(self._database.errors.pop(0))
        return answer


LOST = "Error: D1_ERROR: Network connection lost."


async def test_a_write_whose_answer_was_lost_is_repeated_and_recognised(engine: Bridge, clock: Clock) -> None:
    records, atomics = open_d1(D1(engine), clock)
    await records.get("the tables are there")
    _, unsteady = open_d1(Unsteady(engine, LOST, LOST), clock)
    assert await unsteady.create("a", b"one", nonce="n1") is True
    _, unsteady = open_d1(Unsteady(engine, LOST), clock)
    assert await unsteady.swap("a", b"two", version=1, nonce="n2") == 2
    assert await atomics.get("a") == Entry("a", b"two", 2)


@pytest.mark.parametrize(
    ("errors", "asked"),
    [
        ([LOST] * 3, 3),
        (["Error: D1_ERROR: D1 DB is overloaded. Too many requests queued."], 1),
        (["Error: D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset."], 1),
        (["Error: D1_ERROR: database or disk is full: SQLITE_FULL"], 1),
    ],
    ids=["lost three times", "overloaded", "slow", "full"],
)
async def test_a_d1_that_fails_is_unavailable(engine: Bridge, clock: Clock, errors: list[str], asked: int) -> None:
    await open_d1(D1(engine), clock)[0].get("the tables are there")
    database = Unsteady(engine, *errors)
    with pytest.raises(StoreUnavailable, match="D1 failed") as failure:
        await open_d1(database, clock)[1].create("a", b"", nonce="n1")
    assert isinstance(failure.value.__cause__, JsException)
    assert database.asked == asked


@pytest.mark.parametrize("statement", ["SELECT ?", "SELEC 1", "SELECT * FROM other"])
async def test_a_mistake_of_ours_is_not_called_an_outage_of_d1(engine: Bridge, statement: str) -> None:
    with pytest.raises(JsException):
        await D1Database(D1(engine)).rows(statement)


LARGE = bytes(range(256)) * 8000


async def pieces(engine: Bridge) -> int:
    """How many pieces of large values there are."""
    ((count,),) = (await D1(engine).prepare("SELECT count(*) FROM pieces").bind().raw()).to_py()
    return count


async def test_a_large_value_that_is_replaced_or_removed_leaves_no_pieces(engine: Bridge, clock: Clock) -> None:
    records, atomics = open_d1(D1(engine), clock)
    for n in range(2):
        await records.put("a", LARGE[n:])
        assert await pieces(engine) == 3
    await records.put("a", b"small")
    assert (await records.get("a"), await pieces(engine)) == (b"small", 0)
    await records.put("a", LARGE)
    await records.delete("a")
    assert await pieces(engine) == 0
    await atomics.create("a", LARGE, nonce="n1", ttl_s=60)
    await atomics.create("a", LARGE, nonce="n1", ttl_s=60)
    assert await pieces(engine) == 3
    await atomics.swap("a", LARGE[1:], version=1, nonce="n2", ttl_s=60)
    assert (await atomics.get("a"), await pieces(engine)) == (Entry("a", LARGE[1:], 2), 3)
    clock.advance(60)
    assert (await atomics.sweep(), await pieces(engine)) == (1, 0)


async def test_a_large_value_that_was_not_stored_leaves_no_pieces(engine: Bridge, clock: Clock) -> None:
    _, atomics = open_d1(D1(engine), clock)
    await atomics.create("a", b"one", nonce="n1")
    assert await atomics.create("a", LARGE, nonce="n2") is False
    assert await atomics.swap("a", LARGE, version=7, nonce="n3") is None
    assert await pieces(engine) == 0


async def test_pieces_whose_writer_died_are_swept_when_their_life_is_over(engine: Bridge, clock: Clock) -> None:
    _, atomics = open_d1(D1(engine), clock)
    await atomics.get("the tables are there")
    await D1Database(D1(engine)).packed(LARGE, clock() + 60)
    await atomics.sweep()
    assert await pieces(engine) == 3
    clock.advance(60)
    await atomics.sweep()
    assert await pieces(engine) == 0


class Overtaken(D1):
    """A D1 database on which a large record is replaced after its row was read and before its pieces are."""

    def __init__(self, bridge: Bridge, replace: Callable[[], Awaitable[object]]) -> None:
        super().__init__(bridge)
        self.replace: Callable[[], Awaitable[object]] | None = replace

    def prepare(self, query: str, /) -> Statement:
        statement = super().prepare(query)
        return _Overtaken(self, statement) if query.startswith("SELECT value FROM pieces") else statement


class _Overtaken(Statement):
    def __init__(self, database: Overtaken, statement: Statement) -> None:
        self._overtaken = database
        self._statement = statement

    def bind(self, *values: str | float) -> Statement:
        return _Overtaken(self._overtaken, self._statement.bind(*values))

    async def raw(self) -> Converted:
        replace, self._overtaken.replace = self._overtaken.replace, None
        if replace is not None:
            await replace()
        return await self._statement.raw()


async def test_a_large_value_that_is_replaced_while_it_is_read_is_read_again(engine: Bridge, clock: Clock) -> None:
    _, atomics = open_d1(D1(engine), clock)
    new = LARGE[1:]

    def overtaken(version: int) -> D1Atomics:
        async def replace() -> None:
            await atomics.swap("a", new, version=version, nonce="n2")

        return open_d1(Overtaken(engine, replace), clock)[1]

    await atomics.create("a", LARGE, nonce="n1")
    assert await overtaken(1).get("a") == Entry("a", new, 2)
    assert await overtaken(2).read("") == [Entry("a", new, 3)]


@pytest.mark.parametrize("losses", [1, 2])
async def test_a_large_value_survives_that_the_answers_to_its_writes_are_lost(
    engine: Bridge, clock: Clock, losses: int
) -> None:
    records, atomics = open_d1(D1(engine), clock)
    await records.get("the tables are there")

    def unsteady(of: str) -> tuple[D1Records, D1Atomics]:
        return open_d1(Unsteady(engine, *[LOST] * losses, of=of), clock)

    await unsteady("INSERT INTO records")[0].put("a", LARGE)
    assert await unsteady("INSERT INTO atomics")[1].create("a/1", LARGE, nonce="n1") is True
    assert await atomics.get("a/1") == Entry("a/1", LARGE, 1)
    assert await unsteady("UPDATE atomics")[1].swap("a/1", LARGE[1:], version=1, nonce="n2") == 2
    assert await unsteady("INSERT INTO pieces")[1].create("a/2", LARGE, nonce="n3") is True
    assert await records.get("a") == LARGE
    assert await atomics.read("a/") == [Entry("a/1", LARGE[1:], 2), Entry("a/2", LARGE, 1)]
    assert await pieces(engine) == 9


async def test_a_large_value_that_others_replaced_before_its_write_was_repeated_is_stored_whole(
    engine: Bridge, clock: Clock
) -> None:
    records, atomics = open_d1(D1(engine), clock)

    async def theirs() -> None:
        await records.put("a", LARGE[1:])

    async def gone() -> None:
        await atomics.delete("a")

    await records.get("the tables are there")
    await open_d1(Unsteady(engine, LOST, of="INSERT INTO records", meanwhile=theirs), clock)[0].put("a", LARGE)
    unsteady = Unsteady(engine, LOST, of="INSERT INTO atomics", meanwhile=gone)
    assert await open_d1(unsteady, clock)[1].create("a", LARGE, nonce="n1") is True
    assert (await records.get("a"), await atomics.get("a")) == (LARGE, Entry("a", LARGE, 1))
    assert await pieces(engine) == 6


async def test_a_record_that_has_lost_its_pieces_is_removed_and_does_not_hide_its_neighbours(
    engine: Bridge, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    records, atomics = open_d1(D1(engine), clock)
    await records.put("a/2", LARGE)
    for n in (1, 2, 3):
        await atomics.create(f"a/{n}", LARGE if n == 2 else b"small", nonce="n1")
    await D1(engine).prepare("DELETE FROM pieces").bind().raw()
    assert await atomics.read("a/") == [Entry("a/1", b"small", 1), Entry("a/3", b"small", 1)]
    assert (await records.get("a/2"), await records.list("a/")) == (None, [])
    assert await atomics.create("a/2", LARGE[1:], nonce="n2") is True
    assert await atomics.get("a/2") == Entry("a/2", LARGE[1:], 1)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "D1: the pieces of the large record a/2 are gone; what is left of it is removed"
    ] * 2
