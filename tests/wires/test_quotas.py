"""Every stream that is held counts against its principal's quota, whatever it answers, and each counts once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mcp_edge.quotas import HOLD_S
from tests.wires.asgi import Call
from tests.wires.deployment import Deployment, Instance, Session, request, text

pytestmark = pytest.mark.anyio

TOPIC = {"topic": "x"}
REFUSED = {"code": -32600, "message": "Too many open streams (at most 1)."}


class Caller:
    """A user's way of calling a tool that waits, on one revision."""

    def __init__(self, at: Instance, session: Session | None, key: str | None) -> None:
        self._at = at
        self._session = session
        self._key = key

    @classmethod
    async def of(cls, era: str, at: Instance, key: str | None = None) -> Caller:
        return cls(at, None if era == "modern" else await at.initialize(key=key), key)

    def call(self, tool: str = "change") -> Call:
        if self._session is not None:
            return self._session.call(self._at, tool, TOPIC, token="p")
        params: dict[str, Any] = {"name": tool, "arguments": TOPIC}
        return self._at.modern("tools/call", params, key=self._key, meta={"progressToken": "p"})


ERAS = pytest.mark.parametrize("era", ["modern", "handshake"])


async def held(edge: Deployment, count: int = 1, *, newer_than: int = 0) -> None:
    """Wait until so many streams count."""
    async with asyncio.timeout(10):
        while True:
            holds = await edge.atomics.read("hold/")
            if len(holds) == count and all(hold.version > newer_than for hold in holds):
                return
            await asyncio.sleep(0.001)


@ERAS
async def test_a_call_beyond_the_quota_is_stopped_and_told_why_and_a_freed_place_is_usable(
    edge: Deployment, era: str
) -> None:
    a = edge.instance("A", max_streams=1)
    caller = await Caller.of(era, a)
    first = caller.call()
    await held(edge)
    refused = (await caller.call().messages())[-1]
    edge.desk.gate("A").set()
    answered = (await first.messages())[-1]
    await first.gone()
    last = caller.call()
    third = (await last.messages())[-1]
    await last.gone()

    assert refused["error"] == REFUSED
    assert edge.desk.ends == ["A:change:cancelled", "A:change:done", "A:change:done"]
    assert [text(answered), text(third)] == ["x by A"] * 2
    assert [event.status for event in a.book.events if event.method == "tools/call"] == ["-32600", "ok", "ok"]


@ERAS
async def test_what_one_user_holds_takes_nothing_from_another(edge: Deployment, era: str) -> None:
    a = edge.instance("A", auth="keys", max_streams=1)
    alice, bob = [(await Caller.of(era, a, key)).call() for key in ("alice-key", "bob-key")]
    await held(edge, 2)
    edge.desk.gate("A").set()

    assert [text((await call.messages())[-1]) for call in (alice, bob)] == ["x by A"] * 2


@ERAS
async def test_a_call_keeps_its_place_for_as_long_as_it_is_held_and_then_gives_it_back(
    edge: Deployment, era: str
) -> None:
    a = edge.instance("A", max_streams=1)
    call = (await Caller.of(era, a)).call()
    await held(edge)
    for version in range(1, 4):
        edge.clock.advance(HOLD_S / 2)
        await held(edge, newer_than=version)
    edge.desk.gate("A").set()
    await call.rest()
    await call.gone()

    assert await edge.atomics.read("hold/") == []


async def test_a_call_and_its_reader_at_another_instance_count_once(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    session = await a.initialize()
    call = session.call(a, "change", TOPIC, token="p")
    event = await call.event()
    await held(edge)
    await call.disconnect()
    assert event is not None
    resumed = session.get(b, event.id)
    edge.desk.gate("A").set()

    assert text((await resumed.messages())[-1]) == "x by A"


async def test_a_call_that_was_taken_over_keeps_its_place(edge: Deployment) -> None:
    a, b = edge.pair(max_streams=1)
    session = await a.initialize()
    call = session.call(a, "look_up", TOPIC, token="p")
    event = await call.event()
    await held(edge)
    a.cable.cut()
    edge.clock.advance(7)
    assert event is not None
    resumed = session.get(b, event.id)
    await edge.until(lambda: edge.desk.runs == ["A:look_up", "B:look_up"])
    for version in range(2, 4):
        edge.clock.advance(HOLD_S / 2)
        await held(edge, newer_than=version)
    edge.desk.gate("B").set()

    assert text((await resumed.messages())[-1]) == "x by B"


async def test_a_batch_counts_once(edge: Deployment) -> None:
    a = edge.instance("A", max_streams=1, quiet_s=0.001)
    session = await a.initialize("2025-03-26")
    calls = [request("tools/call", {"name": "change", "arguments": TOPIC}, id=n) for n in range(3)]
    batch = session.post(a, calls)
    await held(edge)
    edge.desk.gate("A").set()

    assert [text(message) for message in json.loads((await batch.whole()).body)] == ["x by A"] * 3


@ERAS
async def test_a_call_that_cannot_be_counted_goes_on(edge: Deployment, era: str) -> None:
    a = edge.instance("A", max_streams=1)
    caller = await Caller.of(era, a)
    failed = a.fail_once("create", "hold/")
    call = caller.call()
    await failed.wait()
    await held(edge)
    edge.desk.gate("A").set()

    assert text((await call.messages())[-1]) == "x by A"


async def test_a_call_where_responses_are_buffered_is_refused_with_a_status(edge: Deployment) -> None:
    a = edge.instance("A", {"streaming": False}, max_streams=1, quiet_s=0.001)
    first = a.modern("tools/call", {"name": "change", "arguments": TOPIC})
    await held(edge)
    refused = await a.modern("tools/call", {"name": "change", "arguments": TOPIC}).whole()
    edge.desk.gate("A").set()

    assert (refused.status, refused.headers["retry-after"], refused.json["error"]) == (429, "5", REFUSED)
    assert text((await first.whole()).json) == "x by A"
