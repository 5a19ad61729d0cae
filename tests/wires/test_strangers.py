"""What belongs to one principal answers to nobody else: each artefact of Ann's, in the hands of a stranger.

A stranger is another subject, or the same subject of another tenant or issuer; to a session and all that is in it,
another app of Ann's is one, too. Beside each attack Ann herself comes with another credential of the same app, as after
a refresh or a step-up, and is served.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from mcp_edge.auth.authenticator import step_up
from mcp_edge.auth.modes import AuthMode
from mcp_edge.errors import Unauthenticated
from mcp_edge.protocol.request import Request
from mcp_edge.user import User
from tests.support.asgi import Call
from tests.support.deployment import Deployment, Instance, Session, bearer, notification, request, text

pytestmark = pytest.mark.anyio

ANN = User("https://as.test", "ann", tenant="acme", client="app", grant="1")
USERS = {
    "ann": ANN,
    "ann, by another grant": User("https://as.test", "ann", tenant="acme", client="app", grant="2"),
    "ann's other app": User("https://as.test", "ann", tenant="acme", client="other app", grant="3"),
    "ann's access key": User("https://as.test", "ann", tenant="acme"),
    "another subject": User("https://as.test", "bob", tenant="acme"),
    "another tenant": User("https://as.test", "ann", tenant="evil"),
    "no tenant": User("https://as.test", "ann"),
    "another issuer": User("https://evil.test", "ann", tenant="acme"),
    "the same in other letters": User("https://as.test", "Ann", tenant="acme"),
    "the same display name": User("https://as.test", "x", tenant="acme", name="ann"),
}
SELF = "ann, by another grant"
STRANGERS = [name for name in USERS if not name.startswith("ann")]
OTHERS = [*STRANGERS, "ann's other app", "ann's access key"]
"""To what one app has opened, the same user's other apps are strangers as well."""


class Names:
    """An authenticator whose credential is a name in `USERS`."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        """Name -> whom it stands for from now on."""

    async def authenticate(self, request: Request) -> User:
        name = request.raw.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if name not in USERS:
            raise Unauthenticated("Who are you?", headers={"www-authenticate": "Bearer"})
        return USERS[self.now.get(name, name)]

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        return step_up(request, needed)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()

    def choose_mode(*_: object) -> AuthMode:
        return AuthMode(names)

    monkeypatch.setattr("mcp_edge.app.choose_mode", choose_mode)
    return names


@pytest.fixture
def pair(edge: Deployment, names: Names) -> tuple[Instance, Instance]:
    del names
    return edge.pair(auth="oauth", public_url="http://localhost")


def of(session: Session, name: str) -> Session:
    """The session's id in somebody's hands."""
    return Session(session.id, session.version, name)


# -- sessions, streams, questions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", OTHERS)
async def test_a_session_does_not_exist_for_a_stranger(pair: tuple[Instance, Instance], stranger: str) -> None:
    a, b = pair
    session = await a.initialize(key="ann")
    stolen = of(session, stranger)
    attempts = [
        await stolen.call(b, "whoami").whole(),
        await stolen.request(b, "tools/list").whole(),
        await stolen.request(b, "ping").whole(),
        await stolen.request(b, "resources/subscribe", {"uri": "note://fixed"}).whole(),
        await stolen.request(b, "logging/setLevel", {"level": "error"}).whole(),
        await stolen.post(b, [request("ping")]).whole(),
        await stolen.post(b, notification("notifications/cancelled", {"requestId": 1})).whole(),
        await stolen.answer(b, "question", {}),
        await stolen.get(b).whole(),
        await stolen.delete(b),
    ]

    assert {(attempt.status, attempt.json["error"]["code"]) for attempt in attempts} == {(404, -32001)}
    assert text((await of(session, SELF).call(b, "whoami").whole()).json) == "ann"


@pytest.mark.parametrize("stranger", OTHERS)
async def test_the_events_of_a_stream_are_not_replayed_to_a_stranger(
    pair: tuple[Instance, Instance], stranger: str
) -> None:
    a, b = pair
    ann, other = await a.initialize(key="ann"), await b.initialize(key=stranger)
    events = await ann.call(a, "count", {"to": 2}, token="t").rest()
    attempts = [await session.get(b, events[0].id).whole() for session in (other, of(ann, stranger))]

    assert [attempt.status for attempt in attempts] == [400, 404]
    assert not any(b"Counting" in attempt.body or b'"progress"' in attempt.body for attempt in attempts)
    assert [event.data for event in await of(ann, SELF).get(b, events[0].id).rest()] == [e.data for e in events[1:]]


@pytest.mark.parametrize("stranger", OTHERS)
async def test_a_question_is_not_answered_by_a_stranger(
    edge: Deployment, pair: tuple[Instance, Instance], stranger: str
) -> None:
    a, b = pair
    ann, other = await a.initialize(key="ann"), await b.initialize(key=stranger)
    call = ann.call(a, "greet")
    question = await _question(call)
    evil = {"action": "accept", "content": {"name": "Mallory"}}

    assert [(await session.answer(b, question, evil)).status for session in (other, of(ann, stranger))] == [400, 404]
    assert edge.recorder.runs == []
    assert (await of(ann, SELF).answer(b, question, {"action": "accept", "content": {"name": "Ann"}})).status == 202
    assert text((await call.messages())[-1]) == "Hello, Ann!"


async def _question(call: Call) -> Any:
    """The id of the first question on a call's stream."""
    while True:
        message = await call.message()
        if message.get("method") == "elicitation/create":
            return message["id"]


@pytest.mark.parametrize("stranger", OTHERS)
async def test_a_suspended_call_is_not_taken_over_by_a_stranger(
    edge: Deployment, pair: tuple[Instance, Instance], stranger: str
) -> None:
    a, b = pair
    ann = await a.initialize(key="ann")
    other = await b.initialize(key=stranger)
    call = ann.call(a, "greet")
    primed = await call.event()
    question = await _question(call)
    assert primed is not None
    await call.disconnect()
    await call.gone()
    await ann.answer(b, question, {"action": "accept", "content": {"name": "Ann"}})

    assert [(await session.get(b, primed.id).whole()).status for session in (other, of(ann, stranger))] == [400, 404]
    assert edge.recorder.runs == []
    assert text((await of(ann, SELF).get(b, primed.id).messages())[-1]) == "Hello, Ann!"


@pytest.mark.parametrize("stranger", OTHERS)
async def test_a_strangers_cancellation_of_the_same_request_id_cancels_nothing(
    edge: Deployment, pair: tuple[Instance, Instance], stranger: str
) -> None:
    a, b = pair
    ann, other = await a.initialize(key="ann"), await b.initialize(key=stranger)
    call = ann.call(a, "greet", id=7)
    question = await _question(call)
    for session in (other, of(ann, stranger)):
        await session.post(b, notification("notifications/cancelled", {"requestId": 7})).whole()
    edge.clock.advance(3)
    await ann.answer(b, question, {"action": "accept", "content": {"name": "Ann"}})

    assert text((await call.messages())[-1]) == "Hello, Ann!"


# -- requestState -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", OTHERS)
async def test_the_sealed_state_of_a_call_does_not_open_for_a_stranger(
    pair: tuple[Instance, Instance], stranger: str
) -> None:
    a, b = pair
    params: dict[str, Any] = {"name": "remember", "arguments": {}}
    asked = (await a.modern("tools/call", params, key="ann").whole()).json["result"]
    answers = {"word": {"action": "accept", "content": {"word": "tree"}}}
    again = {**params, "inputResponses": answers, "requestState": asked["requestState"]}
    refused = await b.modern("tools/call", again, key=stranger).whole()

    assert (refused.status, refused.json["error"]["code"]) == (400, -32602)
    assert text((await b.modern("tools/call", again, key=SELF).whole()).json) == "state kept, word tree"


# -- HTTP+SSE ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", OTHERS)
async def test_nobody_else_posts_to_a_stream_or_goes_on_with_it(pair: tuple[Instance, Instance], stranger: str) -> None:
    a, b = pair
    accept = [("accept", "text/event-stream")]
    stream = a.send("GET", "/sse", [*accept, *bearer("ann")])
    opened = await stream.event()
    assert opened is not None
    hello = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    injected = await b.post(request("initialize", hello, id="evil"), bearer(stranger), path=opened.data).whole()
    resumed = await b.send("GET", "/sse", [*accept, ("last-event-id", str(opened.id)), *bearer(stranger)]).event()

    assert (injected.status, injected.json["error"]["code"]) == (404, -32001)
    assert resumed is not None
    assert resumed.data != opened.data  # a session of the stranger's own
    assert (await b.post(request("initialize", hello, id="ann"), bearer(SELF), path=opened.data).whole()).status == 202
    assert (await stream.message())["id"] == "ann"


# -- changes, records, quotas, limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_listener_hears_nothing_of_a_strangers_changes(pair: tuple[Instance, Instance], stranger: str) -> None:
    a, b = pair
    stream = a.modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["note://1"]}}, key="ann")
    assert (await stream.message())["method"] == "notifications/subscriptions/acknowledged"
    session = await a.initialize(key="ann")
    await session.request(a, "resources/subscribe", {"uri": "note://1"}).whole()
    standalone = await session.get(a).start()
    await standalone.event()
    for name, uri in ((stranger, "note://1"), (SELF, "note://1")):
        await b.modern("tools/call", {"name": "touch", "arguments": {"uri": uri}}, key=name).whole()
        if name == stranger:
            await b.modern("tools/call", {"name": "announce", "arguments": {}}, key=stranger).whole()

    for listener in (stream, standalone):
        message = await listener.message()
        assert (message["method"], message["params"]["uri"]) == ("notifications/resources/updated", "note://1")


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_what_a_stranger_holds_takes_nothing_from_ones_own_quota(
    edge: Deployment, names: Names, stranger: str
) -> None:
    del names
    a = edge.instance("A", auth="oauth", public_url="http://localhost", max_streams=1, max_sessions=1)
    ann, other = await a.initialize(key="ann"), await a.initialize(key=stranger)
    await (await other.get(a).start()).event()
    held = await ann.get(a).start()
    await held.event()
    one_more = await a.send("GET", "/sse", [("accept", "text/event-stream"), *bearer(SELF)]).whole()

    assert one_more.status == 429
    assert (await ann.request(a, "ping").whole()).status == 200  # the stranger's session took no place of Ann's
    again = await a.initialize(key=SELF)
    assert [(await session.request(a, "ping").whole()).status for session in (ann, again)] == [404, 200]


async def test_the_rate_limit_counts_each_principal_by_itself(edge: Deployment, names: Names) -> None:
    del names
    counted: list[str] = []

    class Limiter:
        async def allow(self, key: str) -> bool:
            counted.append(key)
            return True

    a = edge.instance("A", {"limiter": Limiter()}, auth="oauth", public_url="http://localhost")
    for name in USERS:
        await a.modern("tools/list", key=name).whole()

    assert counted == [user.principal for user in USERS.values()]
    assert len(set(counted)) == len(STRANGERS) + 2 - 1  # all of Ann's credentials are one principal


# -- a credential that changes hands while a stream is held -----------------------------------------------------------


@pytest.mark.parametrize("stranger", OTHERS)
async def test_held_streams_end_when_their_credential_is_somebody_elses(
    edge: Deployment, names: Names, pair: tuple[Instance, Instance], stranger: str
) -> None:
    a, _ = pair
    session = await a.initialize(key="ann")
    streams = [
        await session.get(a).start(),
        await a.send("GET", "/sse", [("accept", "text/event-stream"), *bearer("ann")]).start(),
        await a.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, key="ann").start(),
    ]
    for stream in streams:
        await stream.event()
    names.now["ann"] = SELF
    edge.clock.advance(61)
    still = await session.request(a, "resources/subscribe", {"uri": "note://1"}).whole()
    assert (still.status, [stream.ended for stream in streams]) == (200, [False] * 3)
    names.now["ann"] = stranger
    edge.clock.advance(61)
    for stream in streams:
        await stream.rest()

    assert [stream.ended for stream in streams] == [True] * 3


# -- records that name no app ------------------------------------------------------------------------------------------


async def test_a_session_that_names_no_app_answers_to_none_of_its_users_apps(
    edge: Deployment, pair: tuple[Instance, Instance]
) -> None:
    a, b = pair
    session = await a.initialize(key="ann")
    (key,) = await edge.records.list("session/")
    record = json.loads(await edge.records.get(key) or b"")
    assert record.pop("app") == "app"
    await edge.records.put(key, json.dumps(record).encode(), ttl_s=60)
    names = ("ann's access key", "ann", SELF, "ann's other app", "another subject")

    assert [(await of(session, name).request(b, "ping").whole()).status for name in names] == [200, *[404] * 4]


async def test_a_stream_that_names_no_app_takes_posts_of_none_of_its_users_apps(
    edge: Deployment, pair: tuple[Instance, Instance]
) -> None:
    a, b = pair
    stream = a.send("GET", "/sse", [("accept", "text/event-stream"), *bearer("ann's access key")])
    opened = await stream.event()
    assert opened is not None
    (key,) = await edge.records.list("door/")
    await edge.records.put(key, ANN.principal.encode(), ttl_s=60)
    hello = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    names = ("ann", SELF, "ann's other app", "another subject", "ann's access key")
    posts = [await b.post(request("initialize", hello), bearer(name), path=opened.data).whole() for name in names]
    await stream.message()

    assert [post.status for post in posts] == [*[404] * 4, 202]
    assert [event.app for event in a.telemetry.events] == [""]
