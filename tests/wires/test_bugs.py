"""A bug of ours, wherever it is, is logged once and answered with its trace id and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.wires.deployment import Deployment, request

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
