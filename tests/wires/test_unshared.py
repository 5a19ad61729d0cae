"""Instances that share records but no atomic store, as Workers without D1: calls work, and what cannot says so."""

from __future__ import annotations

import pytest

from mcp_edge.storage.cloudflare import DowngradedAtomics
from tests.support.deployment import Deployment, Instance, text

pytestmark = pytest.mark.anyio


def pair(edge: Deployment) -> tuple[Instance, Instance]:
    """Two instances with an atomic store each."""
    started: list[Instance] = []
    for name in ("A", "B"):
        edge.atomics = DowngradedAtomics(edge.clock)
        started.append(edge.instance(name, {"shared": False}))
    return started[0], started[1]


async def test_a_session_opened_on_one_instance_is_known_to_the_other(edge: Deployment) -> None:
    a, b = pair(edge)
    session = await a.initialize()
    answer = await session.call(b, "echo", {"text": "hello"}).whole()
    assert text(answer.json) == "hello"


async def test_a_call_that_reports_progress_streams_to_its_client_without_a_log(edge: Deployment) -> None:
    a, b = pair(edge)
    session = await a.initialize()
    call = session.call(b, "count", {"to": 2}, id="call", token="t")
    ids: list[str | None] = []
    while (event := await call.event()) is not None:
        ids.append(event.id)
    assert len(ids) > 1
    assert set(ids) == {None}


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_no_stream_is_held(edge: Deployment, path: str) -> None:
    a, _ = pair(edge)
    session = await a.initialize()
    answer = await a.send("GET", path, [*session.headers, ("accept", "text/event-stream")]).whole()
    assert answer.status == 405


async def test_no_stream_is_resumed(edge: Deployment) -> None:
    a, _ = pair(edge)
    session = await a.initialize()
    assert (await session.get(a, f"{'0' * 32}.1").whole()).status == 405


@pytest.mark.parametrize(
    ("tool", "why"), [("greet", "nobody can be asked on this wire"), ("greet_now", "cannot be held open here")]
)
async def test_a_tool_that_asks_is_refused_at_once(edge: Deployment, tool: str, why: str) -> None:
    a, _ = pair(edge)
    session = await a.initialize()
    answer = await session.call(a, tool).whole()
    assert "error" in answer.json or answer.json["result"]["isError"]
    assert why in answer.body.decode()


async def test_a_client_of_the_new_revision_is_asked(edge: Deployment) -> None:
    a, _ = pair(edge)
    answer = await a.modern("tools/call", {"name": "greet", "arguments": {}}).whole()
    assert answer.json["result"]["resultType"] == "input_required"
