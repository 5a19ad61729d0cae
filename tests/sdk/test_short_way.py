"""`tools/call` takes the short way through the SDK. The long way answers the same, so no answer shows that it is lost.

It is lost as soon as the SDK has a middleware that is not known here, under a new name, say.
"""

from __future__ import annotations

from typing import Any

import pytest

from mcp_edge.sdk.kernel import Kernel
from tests.support.deployment import Deployment

pytestmark = pytest.mark.anyio

LONG_WAY = Kernel._request  # pyright: ignore[reportPrivateUsage] # no answer tells which way was taken
ECHO = {"name": "echo", "arguments": {"text": "hi"}}


@pytest.fixture
def ran_the_long_way(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of requests that the SDK's whole runner has seen."""
    methods: list[str] = []

    def seen(self: Kernel, x: Any, link: Any, method: str, *others: Any) -> Any:
        methods.append(method)
        return LONG_WAY(self, x, link, method, *others)

    monkeypatch.setattr(Kernel, LONG_WAY.__name__, seen)
    return methods


async def test_a_call_of_2026_07_28_takes_the_short_way(edge: Deployment, ran_the_long_way: list[str]) -> None:
    instance = edge.instance("A")

    assert (await instance.modern("tools/call", ECHO).whole()).status == 200
    assert (await instance.modern("tools/list").whole()).status == 200
    assert ran_the_long_way == ["tools/list"]


async def test_so_does_a_call_of_a_session(edge: Deployment, ran_the_long_way: list[str]) -> None:
    instance = edge.instance("A")
    session = await instance.initialize()
    ran_the_long_way.clear()

    assert (await session.call(instance, "echo", {"text": "hi"}).whole()).status == 200
    assert (await session.request(instance, "tools/list").whole()).status == 200
    assert ran_the_long_way == ["tools/list"]
