"""Sessions: whose they are, how they end, and what a stranger learns of them."""

from __future__ import annotations

import pytest

from tests.support.deployment import Deployment, Session, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

DAY_S = 86400


@clause("handshake.unknown-session")
@pytest.mark.parametrize("id", ["x", "0" * 32, "0" * 32 + "." + "A" * 16, "\xff" * 8, "a b", "." * 50, "x" * 10_000])
async def test_a_forged_session_id_is_unknown_and_costs_no_read(edge: Deployment, id: str) -> None:
    a = edge.instance("A")
    await a.initialize()  # the app has started
    a.link.cut()
    answer = await Session(id, "2025-11-25").request(a, "ping", id=4).whole()

    assert answer.status == 404
    assert answer.json["id"] == 4


@clause("handshake.unknown-session")
async def test_an_id_signed_with_a_key_that_is_not_ours_is_unknown(edge: Deployment) -> None:
    a, b = edge.instance("A"), edge.instance("B", secret_keys=("z" * 43,))
    session = await a.initialize()

    assert (await session.request(b, "ping").whole()).status == 404


async def test_a_session_signed_with_the_key_before_is_still_served(edge: Deployment) -> None:
    a, b = edge.instance("A"), edge.instance("B", secret_keys=("z" * 43, "k" * 43))
    session = await a.initialize()

    assert (await session.request(b, "ping").whole()).status == 200


@clause("handshake.unknown-session")
async def test_somebody_elses_session_does_not_exist(edge: Deployment) -> None:
    a, b = edge.pair(auth="keys")
    session = await a.initialize(key="alice-key")
    stolen = Session(session.id, session.version, "bob-key")
    answers = [
        await stolen.call(b, "echo", {"text": "x"}).whole(),
        await stolen.get(b).whole(),
        await stolen.delete(b),
        await stolen.answer(b, "some-id", {}),
    ]

    assert [answer.status for answer in answers] == [404] * 4
    assert text((await session.call(b, "whoami").whole()).json) == "alice"


@clause("handshake.unknown-session")
async def test_a_session_that_nobody_used_expires(edge: Deployment) -> None:
    a = edge.instance("A", session_ttl_s=DAY_S)
    session = await a.initialize()
    edge.clock.advance(DAY_S)

    assert (await session.request(a, "ping").whole()).status == 404


async def test_a_session_in_use_never_expires(edge: Deployment) -> None:
    a, b = edge.pair(session_ttl_s=DAY_S)
    session = await a.initialize()
    for at in (a, b) * 5:
        edge.clock.advance(DAY_S * 0.6)
        assert (await session.request(at, "ping").whole()).status == 200


async def test_over_the_quota_the_oldest_session_gives_way(edge: Deployment) -> None:
    a, b = edge.pair(max_sessions=3)
    sessions: list[Session] = []
    for at in (a, b, a, b, a):
        sessions.append(await at.initialize())
        edge.clock.advance(1)
    statuses = [(await session.request(a, "ping").whole()).status for session in sessions]

    assert statuses == [404, 404, 200, 200, 200]


async def test_one_users_sessions_leave_anothers_alone(edge: Deployment) -> None:
    a = edge.instance("A", auth="keys", max_sessions=1)
    alice = await a.initialize(key="alice-key")
    await a.initialize(key="bob-key")

    assert (await alice.request(a, "ping").whole()).status == 200


async def test_the_log_level_of_a_session_counts_on_every_instance_and_for_that_session_only(edge: Deployment) -> None:
    a, b = edge.pair()
    quiet, loud = await a.initialize(), await a.initialize()
    assert (await quiet.request(a, "logging/setLevel", {"level": "alert"}).whole()).json["result"] == {}
    heard = [[m["params"]["data"] for m in (await s.call(b, "say").messages())[:-1]] for s in (quiet, loud)]

    assert heard[0] == ["alert", "emergency"]
    assert heard[1][0] == "debug"
    assert len(heard[1]) == 8


async def test_what_belongs_to_a_session_lives_as_long_as_it_and_ends_with_it(edge: Deployment) -> None:
    a, b = edge.pair()
    session = await a.initialize()
    await session.request(a, "resources/subscribe", {"uri": "note://fixed"}).whole()
    await session.request(b, "logging/setLevel", {"level": "alert"}).whole()
    for at in (a, b, a):
        edge.clock.advance(20 * 86400)
        assert (await session.request(at, "ping").whole()).status == 200
    said = await session.call(b, "say").messages()
    subscribed = await edge.records.list("subscription/")
    await session.delete(a)

    assert [message["params"]["level"] for message in said[:-1]] == ["alert", "emergency"]
    assert len(subscribed) == 1
    assert [key for kind in ("session", "level", "subscription") for key in await edge.records.list(kind + "/")] == []


async def test_a_session_cannot_fill_the_store_with_subscriptions(edge: Deployment) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    statuses = [
        (await session.request(a, "resources/subscribe", {"uri": f"note://{n}"}).whole()).status for n in range(257)
    ]
    again = await session.request(a, "resources/subscribe", {"uri": "note://0"}).whole()
    long = await session.request(a, "resources/subscribe", {"uri": "note://" + "x" * 2048}).whole()

    assert statuses == [200] * 256 + [429]
    assert again.status == 200
    assert (long.status, long.json["error"]["code"]) == (400, -32602)
