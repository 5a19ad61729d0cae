"""A bug of ours, wherever it is, is logged once and answered with its trace id and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mcp_edge.sdk.kernel import Kernel
from tests.support.deployment import Deployment, request
from tests.wires.test_http_sse import Client

pytestmark = pytest.mark.anyio


async def test_a_record_that_cannot_be_read_is_a_bug_told_without_detail(
    edge: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    (key,) = await edge.records.list("session/")
    await edge.records.put(key, b"{not json")
    answer = await session.post(a, request("ping", id=3)).whole()

    trace = re.fullmatch(r"Internal error \(request ([0-9a-f]{16})\)", answer.json["error"]["message"])
    assert answer.status == 500
    assert trace is not None
    assert [record.message for record in caplog.records] == [f"request {trace[1]} failed"]
    caplog.clear()


async def buggy(*_: Any) -> bytes:
    raise ZeroDivisionError("secret detail")


@pytest.mark.parametrize("wire", ["batch", "http+sse"])
async def test_bugs_of_two_calls_that_share_a_response_have_two_ids(
    edge: Deployment, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    calls = [request("tools/list", id=n) for n in range(2)]
    if wire == "batch":
        session = await (a := edge.instance("A")).initialize("2025-03-26")
        monkeypatch.setattr(Kernel, "request", buggy)
        messages: list[Any] = json.loads((await session.post(a, calls).whole()).body)
    else:
        client = await Client(*edge.pair()).open()
        monkeypatch.setattr(Kernel, "request", buggy)
        for call in calls:
            await client.post(call)
        messages = [await client.stream.message() for _ in calls]
    told = [re.fullmatch(r"Internal error \(request ([0-9a-f]{16})\)", each["error"]["message"]) for each in messages]
    logged = [record.message for record in caplog.records]
    caplog.clear()

    assert sorted(f"request {trace and trace[1]} failed" for trace in told) == sorted(logged)
    assert len(set(logged)) == 2
