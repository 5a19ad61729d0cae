"""The seven walks, on the deployments that the tests of the wires, of authorization and of the hosts use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.auth.server.deployment import authorize as authorized
from tests.auth.server.deployment import deploy
from tests.support.asgi import DEADLINE_S
from tests.support.deployment import KEYS, Deployment, Instance, text
from tests.walks.hosts import lambda_streaming, worker
from tests.walks.tracer import Scenario
from tests.wires.test_http_sse import Client
from tests.wires.test_questions import ANN, LEASE_S, asked

KEY = KEYS["alice"]
Go = Callable[[], Awaitable[None]]


@asynccontextmanager
async def _deployed(**settings: float) -> AsyncGenerator[tuple[Deployment, Instance, Instance]]:
    edge = Deployment()
    try:
        edge.clock.start()
        yield edge, *edge.pair(auth="keys", **settings)
    finally:
        await edge.close()


@asynccontextmanager
async def json_call() -> AsyncGenerator[Go]:
    """A `tools/call` of 2025-11-25 that is answered with JSON."""
    async with _deployed() as (_, a, _b):
        session = await a.initialize(key=KEY)

        async def go() -> None:
            answer = await session.call(a, "echo", {"text": "hi"}).whole()
            assert (answer.headers["content-type"], text(answer.json)) == ("application/json", "hi")

        yield go


@asynccontextmanager
async def resumed_stream() -> AsyncGenerator[Go]:
    """A call that emits, and one that becomes a stream by its silence, whose instance dies and that is run again
    where its client comes back."""
    async with _deployed(quiet_s=0.01, lease_s=1) as (edge, a, b):
        session = await a.initialize(key=KEY)

        async def go() -> None:
            for instance in "AB":
                edge.recorder.gate(instance).clear()
            await session.call(a, "count", {"to": 2}, token="p").rest()
            call = session.call(a, "look_up", {"topic": "x"})
            await call.event()
            await _renewed(edge, f"stream/{call.last_id.partition('.')[0]}")
            a.link.cut()
            await call.disconnect()
            edge.clock.advance(LEASE_S + 1)
            edge.recorder.gate("B").set()
            messages = await session.get(b, call.last_id).messages()
            assert text(messages[-1]) == "x by B"
            a.link.mend()
            await call.kill()

        yield go


async def _renewed(edge: Deployment, prefix: str) -> None:
    """Wait until the leases below `prefix` are renewed: then all is done that a long call does every so often."""
    before = await edge.atomics.read(prefix)
    assert before
    async with asyncio.timeout(DEADLINE_S):
        while await edge.atomics.read(prefix) == before:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def suspended_question() -> AsyncGenerator[Go]:
    """A question that is asked on one instance, and whose call is suspended there and resumed on another."""
    async with _deployed() as (_, a, b):
        session = await a.initialize(key=KEY)

        async def go() -> None:
            call = session.call(a, "greet")
            question, seen = await asked(call)
            await call.disconnect()
            await call.gone()
            await session.answer(b, question["id"], ANN)
            messages = await session.get(b, seen).messages()
            assert text(messages[-1]) == "Hello, Ann!"

        yield go


@asynccontextmanager
async def http_sse() -> AsyncGenerator[Go]:
    """`GET /sse` on one instance, `POST /messages` to another: `initialize`, and a call that lasts for a while."""
    async with _deployed(lease_s=1) as (edge, a, b):

        async def go() -> None:
            edge.recorder.gate("A").clear()
            runs = len(edge.recorder.runs)
            client = await Client(a, b, KEY).open()
            await client.call("look_up", {"topic": "x"})
            await edge.until(lambda: len(edge.recorder.runs) > runs)
            await _renewed(edge, "running/")
            edge.recorder.gate("A").set()
            assert text(await client.stream.message()) == "x by A"
            await client.stream.disconnect()
            await client.stream.gone()

        yield go


@asynccontextmanager
async def authorization() -> AsyncGenerator[Go]:
    """From `/authorize` over consent, sign-in and consent under that name to `/token`, each time in a fresh browser."""
    deployment = deploy()

    async def go() -> None:
        async with deployment.visitor() as visitor:
            assert "access_token" in await authorized(visitor)

    yield go


WALKS: dict[str, tuple[str, Scenario]] = {
    "a": ("tools/call, answered with JSON", json_call),
    "b": ("a stream, resumed elsewhere", resumed_stream),
    "c": ("a question, resumed elsewhere", suspended_question),
    "d": ("GET /sse and POST /messages", http_sse),
    "e": ("/authorize … /token", authorization),
    "f": ("Lambda, streaming: /healthz", lambda_streaming),
    "g": ("a Worker: /healthz", worker),
}
"""What each is called, and its scenario."""
