"""A host's limiter decides how many requests a caller may send; without one nobody counts."""

from __future__ import annotations

from collections import Counter

import pytest

from mcp_edge.hosts.cloudflare.limiter import RateLimit, rate_limit
from mcp_edge.storage.javascript import JsException
from tests.support.deployment import Deployment, request, text

pytestmark = pytest.mark.anyio


class Outcome:
    def __init__(self, success: bool) -> None:
        self.success = success


class Binding:
    """Cloudflare's rate limit, with `limit` requests for each key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.seen: Counter[str] = Counter()

    async def limit(self, *, key: str) -> Outcome:
        self.seen[key] += 1
        return Outcome(self.seen[key] <= self._limit)


class Broken:
    async def limit(self, *, key: str) -> Outcome:
        raise JsException("Error: internal error")


async def test_a_caller_over_the_limit_is_refused_and_others_are_not(edge: Deployment) -> None:
    a = edge.instance("A", {"limiter": RateLimit(Binding(1))}, auth="keys")
    echo = {"name": "echo", "arguments": {"text": "x"}}
    first = await a.modern("tools/call", echo, key="alice-key").whole()
    second = await a.modern("tools/call", echo, key="alice-key").whole()
    other = await a.modern("tools/call", echo, key="bob-key").whole()
    assert (text(first.json), text(other.json)) == ("x", "x")
    assert (second.status, second.headers["retry-after"]) == (429, "60")
    assert second.json["error"]["message"] == "Too many requests; try again in a minute."


@pytest.mark.parametrize(("limit", "status"), [(5, 200), (4, 429)], ids=["within", "beyond"])
async def test_each_message_of_a_batch_counts_and_none_is_done_beyond_the_limit(
    edge: Deployment, limit: int, status: int
) -> None:
    binding = Binding(limit)
    a = edge.instance("A", {"limiter": RateLimit(binding)}, auth="keys")
    session = await a.initialize("2025-03-26", key="alice-key")
    ask = [request("tools/call", {"name": "greet_now", "arguments": {}}, id=n) for n in range(4)]
    answer = await session.post(a, ask).whole()
    assert answer.status == status
    assert len(edge.recorder.runs) == (4 if status == 200 else 0)


async def test_a_request_without_a_credential_counts_for_nobody(edge: Deployment) -> None:
    binding = Binding(1)
    a = edge.instance("A", {"limiter": RateLimit(binding)}, auth="keys")
    assert (await a.modern("tools/list", key="wrong").whole()).status == 401
    assert binding.seen == {}


async def test_a_limiter_that_fails_lets_everything_through(edge: Deployment) -> None:
    a = edge.instance("A", {"limiter": RateLimit(Broken())})
    assert (await a.modern("tools/list").whole()).status == 200


def test_a_worker_without_the_binding_has_no_limiter() -> None:
    assert rate_limit(None) is None
