"""A held stream asks again, every so often, whether its credential is still good."""

from __future__ import annotations

import pytest

from mcp_edge.auth.authenticator import BearerKeys
from mcp_edge.errors import Unauthenticated
from mcp_edge.protocol.request import Request
from tests.support.deployment import Deployment, bearer

pytestmark = pytest.mark.anyio

KEY = "alice-key"
STREAM = [("accept", "text/event-stream"), *bearer(KEY)]


def revoke(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no key is good."""

    async def refuse(self: BearerKeys, request: Request) -> None:
        raise Unauthenticated("revoked")

    monkeypatch.setattr(BearerKeys, "authenticate", refuse)


async def test_the_standalone_stream_of_a_revoked_credential_ends(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = edge.instance("A", auth="keys")
    session = await a.initialize(key=KEY)
    stream = await session.get(a).start()
    revoke(monkeypatch)
    edge.clock.advance(61)
    await stream.rest()

    assert stream.ended


async def test_a_listen_stream_of_a_revoked_credential_ends_with_its_result(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = edge.instance("A", auth="keys")
    stream = a.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, key=KEY)
    assert (await stream.message())["method"] == "notifications/subscriptions/acknowledged"
    revoke(monkeypatch)
    edge.clock.advance(61)

    assert (await stream.message())["result"]["resultType"] == "complete"


async def test_an_http_sse_stream_of_a_revoked_credential_ends(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = edge.instance("A", auth="keys").send("GET", "/sse", STREAM)
    await stream.event()
    revoke(monkeypatch)
    edge.clock.advance(61)
    await stream.rest()

    assert stream.ended


async def test_a_streaming_call_of_a_revoked_credential_is_cancelled(
    edge: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = edge.instance("A", auth="keys", recheck_s=0.001, lease_s=1)
    session = await a.initialize(key=KEY)
    call = session.request(
        a, "tools/call", {"name": "look_up", "arguments": {"topic": "x"}, "_meta": {"progressToken": 1}}
    )
    await edge.until(lambda: bool(edge.recorder.runs))
    revoke(monkeypatch)
    await call.rest()

    assert edge.recorder.ends == ["A:look_up:cancelled"]
