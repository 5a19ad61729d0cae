"""`subscriptions/listen` of 2026-07-28: a stream of the changes that were asked for, made on any instance."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.asgi import Call
from tests.support.deployment import Deployment, Instance
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

ID = "io.modelcontextprotocol/subscriptionId"


def listen(at: Instance, *, id: Any = "sub", key: str | None = None, **wanted: Any) -> Call:
    return at.modern("subscriptions/listen", {"notifications": wanted}, id=id, key=key)


def touch(at: Instance, uri: str, key: str | None = None) -> Call:
    return at.modern("tools/call", {"name": "touch", "arguments": {"uri": uri}}, key=key)


@clause("modern.listen-acknowledged", "modern.listen-id")
async def test_a_change_made_on_another_instance_follows_the_acknowledgement(edge: Deployment) -> None:
    a, b = edge.pair()
    stream = listen(a, resourceSubscriptions=["note://fixed"])
    first = await stream.message()
    await touch(b, "note://fixed").whole()
    second = await stream.message()

    assert first == {
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": {"resourceSubscriptions": ["note://fixed"]}, "_meta": {ID: "sub"}},
    }
    assert second == {
        "jsonrpc": "2.0",
        "method": "notifications/resources/updated",
        "params": {"uri": "note://fixed", "_meta": {ID: "sub"}},
    }


@clause("modern.listen-acknowledged")
async def test_only_what_was_asked_for_is_sent(edge: Deployment) -> None:
    a = edge.instance("A")
    tools, note = listen(a, id=1, toolsListChanged=True), listen(a, id=2, resourceSubscriptions=["note://2"])
    for stream in (tools, note):
        await stream.message()
    await touch(a, "note://fixed").whole()
    await a.modern("tools/call", {"name": "announce", "arguments": {}}).whole()
    await touch(a, "note://2").whole()

    assert (await tools.message())["method"] == "notifications/tools/list_changed"
    assert (await note.message())["params"].get("uri") == "note://2"


@clause("modern.listen-end", "modern.listen-id")
async def test_a_drain_ends_the_stream_with_a_result(edge: Deployment) -> None:
    a = edge.instance("A")
    stream = listen(a, id=7, toolsListChanged=True)
    await stream.message()
    a.drain.draining = True
    last = await stream.messages()

    assert [m["id"] for m in last] == [7]
    assert last[0]["result"]["_meta"][ID] in (7, "7")
    assert last[0]["result"]["resultType"] == "complete"


@clause("modern.listen-keep-alive")
async def test_a_silent_stream_is_kept_alive_by_comments(edge: Deployment) -> None:
    edge.clock.start()
    stream = listen(edge.instance("A", keepalive_s=0.001), toolsListChanged=True)
    await stream.message()
    event = await stream.event(comments=True)

    assert event is not None
    assert event.comment == "keep-alive"


@clause("modern.disconnect-cancels")
async def test_a_listener_that_leaves_gives_its_place_back(edge: Deployment) -> None:
    a = edge.instance("A", max_streams=1)
    for _ in range(3):
        stream = listen(a, toolsListChanged=True)
        await stream.message()
        await stream.disconnect()
        await stream.gone()

    assert await edge.atomics.read("hold/") == []


async def test_another_users_activity_is_invisible(edge: Deployment) -> None:
    a, b = edge.pair(auth="keys")
    stream = listen(a, key="alice-key", resourceSubscriptions=["note://1", "note://2"])
    await stream.message()
    await touch(b, "note://1", key="bob-key").whole()
    await touch(b, "note://2", key="alice-key").whole()

    assert (await stream.message())["params"]["uri"] == "note://2"


async def test_one_stream_more_than_the_quota_is_refused(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=2)
    for at in (a, b):
        await listen(at, toolsListChanged=True).message()
    answer = await listen(a, toolsListChanged=True).whole()

    assert answer.status == 429
    assert "Too many" in answer.json["error"]["message"]
    assert answer.headers["retry-after"] == "5"


async def test_a_deploy_that_changes_the_catalogue_tells_every_listener(edge: Deployment) -> None:
    a = edge.instance("A")
    stream = listen(a, toolsListChanged=True)
    await stream.message()
    await edge.records.put("catalogue/wires/tools", b"the catalogue of the release before")
    await edge.instance("B").modern("tools/list").whole()

    assert (await stream.message())["method"] == "notifications/tools/list_changed"


@clause("modern.listen-acknowledged")
async def test_a_change_made_before_the_acknowledgement_is_read_is_not_missed(edge: Deployment) -> None:
    a, b = edge.pair()
    stream = listen(a, toolsListChanged=True)
    stream.stall()
    async with asyncio.timeout(5):
        while not await edge.atomics.read("hold/"):  # the listener is about to acknowledge
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    await b.modern("tools/call", {"name": "announce", "arguments": {}}).whole()
    stream.read_on()
    told = [(await stream.message())["method"] for _ in range(2)]

    assert told == ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed"]
