"""Changes on the handshake revisions: the standalone stream of a session, and what it subscribed to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mcp_edge.errors import StoreUnavailable
from mcp_edge.protocol import sse
from tests.support.asgi import Call
from tests.support.awaiting import Awaiting
from tests.support.deployment import HANDSHAKE, Deployment, Instance, Session, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

UPDATED = "notifications/resources/updated"


async def opened(session: Session, at: Instance) -> Call:
    """The standalone stream, once it listens."""
    stream = await session.get(at).start()
    assert stream.headers["content-type"] == "text/event-stream"
    return stream


async def touch(session: Session, at: Instance, uri: str) -> None:
    await session.call(at, "touch", {"uri": uri}).whole()


@clause("handshake.one-endpoint", "handshake.get", "handshake.one-stream")
@pytest.mark.parametrize("version", HANDSHAKE)
async def test_a_change_made_on_another_instance_reaches_the_listener_and_not_the_call(
    edge: Deployment, version: str
) -> None:
    a, b = edge.pair()
    session = await a.initialize(version)
    stream = await opened(session, a)
    answer = await session.call(b, "announce").whole()

    assert answer.headers["content-type"] == "application/json"
    assert await stream.message() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


async def test_only_subscribed_resources_are_told_and_only_until_unsubscribed(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    stream = await opened(session, a)
    await touch(session, b, "note://1")
    await session.request(b, "resources/subscribe", {"uri": "note://1"}).whole()
    await session.request(b, "resources/subscribe", {"uri": "note://2"}).whole()
    await touch(session, b, "note://1")
    first = await stream.message()
    await session.request(a, "resources/unsubscribe", {"uri": "note://1"}).whole()
    await touch(session, b, "note://1")
    await touch(session, b, "note://2")

    assert first == {"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "note://1"}}
    assert (await stream.message())["params"] == {"uri": "note://2"}


async def test_another_users_changes_are_invisible(edge: Deployment) -> None:
    a, b = edge.pair(auth="keys")
    alice, bob = await a.initialize(key="alice-key"), await a.initialize(key="bob-key")
    stream = await opened(alice, a)
    await bob.call(b, "announce").whole()
    await alice.request(b, "resources/subscribe", {"uri": "note://1"}).whole()
    await touch(bob, b, "note://1")
    await touch(alice, b, "note://1")

    assert (await stream.message())["method"] == UPDATED


@clause("handshake.replay", "handshake.event-ids")
async def test_a_listener_that_comes_back_is_told_what_it_missed(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    stream = await opened(session, a)
    primed = await stream.event()
    await stream.disconnect()
    await stream.gone()
    await session.call(b, "announce").whole()
    assert primed is not None
    resumed = session.get(b, primed.id)
    events = [await resumed.event(), await resumed.event()]

    assert "tools/list_changed" in (events[-1].data if events[-1] else "")
    assert events[-1] is not None
    assert events[-1].id != primed.id


async def test_the_newest_listener_takes_the_place_of_the_one_before(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    old = await opened(session, a)
    new = await opened(session, b)
    closed = await old.rest()
    await session.call(a, "announce").whole()

    assert closed[-1].retry_ms == 500
    assert (await new.message())["method"] == "notifications/tools/list_changed"


@clause("handshake.one-stream")
async def test_a_change_is_told_once_when_listeners_take_turns(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    await session.request(a, "resources/subscribe", {"uri": "note://1"}).whole()
    first = await opened(session, a)
    await touch(session, b, "note://1")
    told = [await first.message()]
    second = await opened(session, b)
    told += await first.messages()
    await session.call(a, "announce").whole()
    told.append(await second.message())

    assert [m["method"] for m in told] == [UPDATED, "notifications/tools/list_changed"]


async def test_a_listener_whose_process_drains_is_sent_away_with_a_retry(edge: Deployment) -> None:
    a = edge.instance("A")
    stream = await opened(await a.initialize(), a)
    a.drain.draining = True

    assert (await stream.rest())[-1].retry_ms == 500


async def test_a_listener_beyond_its_budget_is_sent_away_with_a_retry(edge: Deployment) -> None:
    a = edge.instance("A", {"stream_budget_s": 50})
    stream = await opened(await a.initialize(), a)
    edge.clock.advance(51)

    assert (await stream.rest())[-1].retry_ms == 500


@clause("handshake.delete")
async def test_a_listener_of_a_deleted_session_is_closed_on_every_instance(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    stream = await opened(session, a)
    await session.delete(b)
    edge.clock.advance(3)
    await stream.rest()
    await stream.gone()

    assert await edge.atomics.read("hold/") == []


@clause("handshake.get")
async def test_a_host_that_holds_no_streams_says_so(edge: Deployment) -> None:
    a = edge.instance("A", {"streaming": False})
    answer = await (await a.initialize()).get(a).whole()

    assert (answer.status, answer.headers["allow"]) == (405, "POST, DELETE")


async def test_one_stream_more_than_the_quota_is_refused_and_a_freed_place_is_usable(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=2)
    sessions = [await a.initialize() for _ in range(3)]
    streams = [await opened(session, at) for session, at in zip(sessions, (a, b), strict=False)]
    refused = await sessions[2].get(a).whole()
    await streams[0].disconnect()
    await streams[0].gone()

    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    await opened(sessions[2], a)


async def test_what_a_killed_instance_held_is_free_again_after_a_minute(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    await opened(await a.initialize(), a)
    a.link.cut()
    session = await b.initialize()
    assert (await session.get(b).whole()).status == 429
    edge.clock.advance(61)

    await opened(session, b)


async def test_a_held_stream_keeps_its_place_for_as_long_as_it_is_held(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    session = await a.initialize()
    stream = await opened(session, a)
    for _ in range(6):
        before = (await edge.atomics.read("hold/"))[0].version
        edge.clock.advance(25)
        await _renewed(edge, before)

    assert (await (await b.initialize()).get(b).whole()).status == 429
    assert not stream.ended


async def _renewed(edge: Deployment, version: int) -> None:
    async with asyncio.timeout(5):
        while not (held := await edge.atomics.read("hold/")) or held[0].version == version:
            await asyncio.sleep(0.001)


async def test_a_listener_that_stalls_is_let_go(edge: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STALL_S", 0.01)
    a, b = edge.pair()
    session = await a.initialize()
    stream = await opened(session, a)
    await stream.event()
    stream.stall()
    await session.call(b, "announce").whole()
    await stream.gone()

    assert await edge.atomics.read("hold/") == []


async def test_more_changes_than_are_kept_become_one_of_each_kind(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    await session.request(a, "resources/subscribe", {"uri": "note://7"}).whole()
    await session.call(b, "announce").whole()
    stream = await opened(session, a)
    primed = await stream.event()
    await stream.disconnect()
    await stream.gone()
    assert primed is not None
    for n in range(300):
        await touch(session, b, f"note://{n}")
    resumed = session.get(b, primed.id)
    told = [(await resumed.message())["method"] for _ in range(4)]

    assert sorted(told) == sorted(
        [UPDATED, *(f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources"))]
    )


async def test_a_listener_reads_what_changed_once_and_then_the_number_alone(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    for n in range(256):
        await touch(session, b, f"note://{n}/" + "x" * 2000)
    read: list[int] = []
    original = json.loads

    def loads(text: Any, **named: Any) -> Any:
        read.append(len(text))
        return original(text, **named)

    stream = await opened(session, a)
    monkeypatch.setattr(json, "loads", loads)
    looks = watched(a, "changes/")
    await session.call(b, "announce").whole()
    told = await stream.message()
    await edge.until(lambda: len(looks) > 60)

    assert told["method"] == "notifications/tools/list_changed"
    assert len([size for size in read if size > 500_000]) <= 2  # by the one who announces, and by the one who listens


def watched(instance: Instance, prefix: str) -> list[str]:
    """The keys with `prefix` that the instance reads from now on."""
    atomics: Any = instance.platform.atomics
    original, keys = atomics.get, list[str]()

    async def get(key: str) -> Any:
        if key.startswith(prefix):
            keys.append(key)
        return await original(key)

    atomics.get = get
    return keys


async def test_a_record_of_changes_that_begins_otherwise_is_read_all_the_same(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    stream = await opened(session, a)
    await session.call(b, "announce").whole()
    await stream.message()
    (entry,) = await edge.atomics.read("changes/")
    record = json.loads(entry.value)
    later = {"n": record["n"] + 1, "e": [[record["n"] + 1, "prompts", None]], "v": 2}
    await edge.atomics.swap(entry.key, json.dumps(later).encode(), version=entry.version, nonce="n")

    assert (await stream.message())["method"] == "notifications/prompts/list_changed"


@pytest.mark.parametrize("fault", ["overtaken", "away"])
async def test_a_change_that_cannot_be_announced_fails_no_call(
    edge: Deployment, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mcp_edge.records.upsert._APART_S", 0)
    a = edge.instance("A")
    session = await a.initialize()
    await session.call(a, "announce").whole()
    atomics: Any = a.platform.atomics
    original = atomics.swap

    async def swap(key: str, *value: bytes, **named: Any) -> Any:
        if not key.startswith("changes/"):
            return await original(key, *value, **named)
        if fault == "away":
            raise StoreUnavailable("the store is away")
        return None  # others always come first

    atomics.swap = swap
    answer = await session.call(a, "announce").whole()

    assert (answer.status, text(answer.json)) == (200, "announced")
    assert [
        record.message.partition(":")[0] for record in caplog.records if record.name == "mcp_edge.records.changes"
    ] == ["1 changes were not announced"]


async def test_changes_made_at_the_same_time_are_all_announced(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    far: Any = a.platform.atomics
    far.store = Awaiting(edge.atomics)
    calls = [session.call(a, "touch", {"uri": f"note://{n}"}, id=n) for n in range(40)]
    answers = [await call.whole() for call in calls]
    (entry,) = await edge.atomics.read("changes/")

    assert {text(answer.json) for answer in answers} == {"touched"}
    assert {uri for _, _, uri in json.loads(entry.value)["e"]} == {f"note://{n}" for n in range(40)}
