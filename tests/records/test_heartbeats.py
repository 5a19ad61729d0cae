"""What a heartbeat writes to each store does not depend on what the client sent, and nothing large stays behind it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from mcp_edge.platform import Platform
from mcp_edge.records.mailbox import Mailbox
from mcp_edge.records.stream_head import Head
from mcp_edge.records.stream_log import LogReader, LogWriter
from mcp_edge.settings import Settings
from mcp_edge.storage.dynamodb_table import PART_BYTES
from mcp_edge.storage.ports import AtomicStore
from mcp_edge.user import User
from tests.support.clock import Clock
from tests.support.engines import Ports

pytestmark = pytest.mark.anyio

LARGE = 3 * PART_BYTES
MOST_BEAT = 2048


class Weighed:
    """A store that adds up the values it is given."""

    def __init__(self, store: AtomicStore) -> None:
        self._store = store
        self.written: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def spent(self) -> dict[str, int]:
        """The bytes since the last time, by the first part of the keys."""
        written, self.written = self.written, {}
        return written

    def _weigh(self, key: str, value: bytes) -> None:
        kind = key.partition("/")[0]
        self.written[kind] = self.written.get(kind, 0) + len(value)

    async def create(self, key: str, value: bytes, **named: Any) -> bool:
        self._weigh(key, value)
        return await self._store.create(key, value, **named)

    async def swap(self, key: str, value: bytes, **named: Any) -> int | None:
        self._weigh(key, value)
        return await self._store.swap(key, value, **named)


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Weighed:
    return Weighed(request.getfixturevalue(f"{request.param}_ports")[1])


def platform(store: Any, clock: Clock) -> Platform:
    return Platform(Settings(secret_keys=(SecretStr("k" * 43),)), store, store, clock=clock)


def head(clock: Clock, large: dict[str, Any], **more: Any) -> Head:
    """A head of a call that may be run again."""
    given: dict[str, Any] = {"request_id": 1, "method": "tools/call", "params": {"name": "x"}, **large}
    fields: dict[str, Any] = {"again": True, **given, **more}
    return Head("s" * 32, "user", version="2025-11-25", began=clock.now, **fields)


SENT: dict[str, dict[str, Any]] = {
    "arguments": {"params": {"name": "x", "arguments": {"text": "y" * LARGE}}},
    "meta": {"params": {"name": "x", "_meta": {"pad": ["y" * 100] * (LARGE // 100)}}},
    "name": {"params": {"name": "x" * LARGE}},
    "uri": {"method": "resources/read", "params": {"uri": "x" * LARGE}, "again": False},
    "ref": {"method": "completion/complete", "params": {"ref": {"uri": "x" * LARGE}}, "again": False},
    "id": {"request_id": "i" * LARGE, "again": False},
    "method": {"method": "m" * LARGE, "again": False},
    "question": {
        "suspended": True,
        "asked": {"a": "q"},
        "requests": {"a": {"method": "m", "params": {"m": "y" * LARGE}}},
    },
    "state": {"suspended": True, "asked": {"a": "q"}, "requests": {}, "state": "s" * LARGE},
}


@pytest.mark.parametrize("sent", SENT)
async def test_a_heartbeat_of_a_stream_writes_the_same_whatever_was_sent(
    store: Weighed, clock: Clock, sent: str
) -> None:
    here = platform(store, clock)
    small = await LogWriter.open(here, head(clock, {}))
    store.spent()
    await small.beat()
    beat = store.spent()["stream"]
    large = await LogWriter.open(here, head(clock, SENT[sent]))
    opened = store.spent()
    for _ in range(5):
        await large.beat()
    beats = store.spent()

    assert opened["stream"] < MOST_BEAT
    assert LARGE < opened["annex"] < LARGE * 1.2
    assert set(beats) == {"stream"}
    assert beats["stream"] <= 5 * (beat + 200)


@pytest.mark.parametrize("sent", SENT)
async def test_whoever_takes_a_stream_over_has_all_that_was_sent(store: Weighed, clock: Clock, sent: str) -> None:
    here = platform(store, clock)
    journal = await LogWriter.open(here, head(clock, SENT[sent]))
    await journal.beat()
    clock.advance(60)
    log = LogReader(here, journal.stream, 0)
    found = await log.head()
    assert found is not None
    assert found[0].until < clock.now
    taken = await log.take_over(*found)
    store.spent()
    assert taken is not None
    await taken.beat()

    assert {name: getattr(taken.head, name) for name in SENT[sent]} == SENT[sent]
    assert set(store.spent()) == {"stream"}


@pytest.mark.parametrize("sent", ["arguments", "name", "uri", "ref", "method"])
async def test_who_resumes_a_stream_learns_what_it_calls(store: Weighed, clock: Clock, sent: str) -> None:
    log = LogReader(here := platform(store, clock), (await LogWriter.open(here, head(clock, SENT[sent]))).stream, 0)
    found = await log.head()
    assert found is not None
    if found[0].is_short:
        await log.fill(found[0])
    given = head(clock, SENT[sent])

    assert found[0].method == given.method
    assert found[0].params is not None
    assert given.params is not None
    assert all(found[0].params[name] == given.params[name] for name in ("name", "uri", "ref") if name in given.params)


async def test_an_annex_lives_for_as_long_as_its_call_runs(store: Weighed, clock: Clock) -> None:
    here = platform(store, clock)
    journal = await LogWriter.open(here, head(clock, SENT["arguments"]))
    written = 0
    for _ in range(60):
        clock.advance(600)
        await journal.beat()
        written += store.spent().get("annex", 0)
    clock.advance(60)
    log = LogReader(here, journal.stream, 0)
    found = await log.head()
    assert found is not None
    taken = await log.take_over(*found)

    assert taken is not None
    assert taken.head.params == SENT["arguments"]["params"]
    assert written <= 11 * LARGE * 1.2


async def test_a_heartbeat_of_http_sse_writes_the_same_whatever_was_posted(store: Weighed, clock: Clock) -> None:
    here, user = platform(store, clock), User("https://issuer", "ann")
    boxes: list[Mailbox] = []
    beats: list[int] = []
    for session, pad in (("a" * 32, ""), ("b" * 32, "y" * LARGE)):
        boxes.append(Mailbox(here, session))
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "pad": pad}}
        await boxes[-1].put(message, user, held=True)
        assert [posted.message async for posted in boxes[-1].take()] == [message]
        store.spent()
        assert await boxes[-1].beat() == []
        beats.append(store.spent()["running"])
    clock.advance(60)
    (orphan,) = await Mailbox(here, "b" * 32).orphans()

    assert beats[1] <= beats[0]
    assert orphan.message["params"] == {"name": "x", "pad": "y" * LARGE}


async def test_a_request_of_http_sse_leaves_nothing_when_it_is_answered(clock: Clock, memory_ports: Ports) -> None:
    store = memory_ports[1]
    here, user = platform(store, clock), User("https://issuer", "ann")
    box = Mailbox(here, "a" * 32)
    await box.put({"jsonrpc": "2.0", "id": 1, "method": "m", "params": {"pad": "y" * LARGE}}, user, held=True)
    (posted,) = [posted async for posted in box.take()]
    assert len(await store.read("annex/")) == 1
    await box.end(posted)

    assert {entry.key.partition("/")[0] for entry in await store.read("")} == {"logged"}
