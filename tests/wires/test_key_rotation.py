"""`MCP_SECRET_KEYS=new,old`: sessions, streams, questions and sealed states go on while a secret is replaced."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.deployment import Deployment, Instance, request, text

pytestmark = pytest.mark.anyio

OLD, NEW = SecretStr("o" * 43), SecretStr("n" * 43)
ANN = {"action": "accept", "content": {"name": "Ann"}}


@pytest.fixture
def before(edge: Deployment) -> Instance:
    return edge.instance("before", secret_keys=(OLD,))


@pytest.fixture
def learning(edge: Deployment) -> Instance:
    """Knows the new secret, and does not use it yet."""
    return edge.instance("learning", secret_keys=(OLD, NEW))


@pytest.fixture
def during(edge: Deployment) -> Instance:
    return edge.instance("during", secret_keys=(NEW, OLD))


@pytest.fixture
def after(edge: Deployment) -> Instance:
    return edge.instance("after", secret_keys=(NEW,))


async def test_a_session_from_before_goes_on_and_ends_with_its_secret(
    before: Instance, during: Instance, after: Instance
) -> None:
    session = await before.initialize()

    assert [(await session.request(at, "ping").whole()).status for at in (during, after)] == [200, 404]


async def test_each_step_understands_what_its_neighbours_sign(
    before: Instance, learning: Instance, during: Instance, after: Instance
) -> None:
    for opened, used in (
        (before, learning),
        (learning, before),
        (learning, during),
        (during, learning),
        (during, after),
        (after, during),
    ):
        session = await opened.initialize()
        assert (await session.request(used, "ping").whole()).status == 200, (opened.name, used.name)


@pytest.mark.parametrize("tool", ["greet", "greet_now"])
async def test_a_question_from_before_is_answered_during_the_change(
    before: Instance, during: Instance, tool: str
) -> None:
    session = await before.initialize()
    call = session.call(before, tool)
    while (message := await call.message()).get("method") != "elicitation/create":
        pass

    assert (await session.answer(during, message["id"], ANN)).status == 202
    assert text((await call.messages())[-1]) == "Hello, Ann!"


async def test_a_suspended_call_from_before_is_finished_during_the_change(before: Instance, during: Instance) -> None:
    session = await before.initialize()
    call = session.call(before, "remember")
    primed = await call.event()
    question = await call.message()
    assert primed is not None
    await call.disconnect()
    await call.gone()
    answer = {"action": "accept", "content": {"word": "tree"}}
    assert (await session.answer(during, question["id"], answer)).status == 202

    assert text((await session.get(during, primed.id).messages())[-1]) == "state kept, word tree"


async def test_a_state_sealed_before_opens_during_the_change_and_not_after_it(
    before: Instance, during: Instance, after: Instance
) -> None:
    params: dict[str, Any] = {"name": "remember", "arguments": {}}
    asked = (await before.modern("tools/call", params).whole()).json["result"]
    answers = {"word": {"action": "accept", "content": {"word": "tree"}}}
    again = {**params, "inputResponses": answers, "requestState": asked["requestState"]}
    late = await after.modern("tools/call", again).whole()

    assert text((await during.modern("tools/call", again).whole()).json) == "state kept, word tree"
    assert (late.status, late.json["error"]["code"]) == (400, -32602)


async def test_an_http_sse_stream_from_before_takes_posts_and_goes_on_during_the_change(
    before: Instance, during: Instance
) -> None:
    stream = before.send("GET", "/sse", [("accept", "text/event-stream")])
    opened = await stream.event()
    assert opened is not None
    hello = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}

    assert (await during.post(request("initialize", hello, id="x"), path=opened.data).whole()).status == 202
    assert (await stream.message())["id"] == "x"
    await stream.disconnect()
    await stream.gone()
    resumed = during.send("GET", "/sse", [("accept", "text/event-stream"), ("last-event-id", str(opened.id))])
    assert (await resumed.event()) is not None
    assert (await resumed.message())["id"] == "x"
