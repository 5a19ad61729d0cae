"""Every endpoint that anybody can reach counts its attempts, and answers none that it cannot count."""

from __future__ import annotations

import pytest

from mcp_edge.errors import StoreUnavailable
from mcp_edge.oauth.limits import PER_WINDOW, What
from tests.oauth.deployment import deploy
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

ENDPOINTS: list[tuple[str, str, What]] = [
    ("GET", "/authorize", "authorize"),
    ("POST", "/consent", "consent"),
    ("GET", "/sign-in", "apps"),
    ("POST", "/sign-in", "sign-in"),
    ("POST", "/sign-out", "apps"),
    ("GET", "/apps", "apps"),
    ("POST", "/apps", "apps"),
    ("GET", "/oauth/callback", "callback"),
    ("GET", "/oauth/connected", "callback"),
    ("GET", "/connect/" + "0" * 64, "connect"),
    ("POST", "/connect/" + "0" * 64, "connect"),
    ("POST", "/token", "token"),
    ("POST", "/revoke", "revoke"),
    ("POST", "/introspect", "introspect"),
    ("POST", "/register", "new-client"),
]
EACH = pytest.mark.parametrize(("method", "path", "what"), ENDPOINTS, ids=[f"{m} {p[:12]}" for m, p, _ in ENDPOINTS])


async def status(browser: Visitor, method: str, path: str) -> int:
    """The status of a form of ours, for a POST, or of a navigation."""
    headers = {"origin": browser.origin} if method == "POST" else {}
    return (
        await browser.client.request(method, path, data={} if method == "POST" else None, headers=headers)
    ).status_code


@EACH
async def test_one_attempt_too_many_is_refused_and_no_other_address_with_it(method: str, path: str, what: What) -> None:
    edge = deploy()
    async with edge.visitor(address="198.51.100.7") as here, edge.visitor(address="198.51.100.8") as there:
        answered = [await status(here, method, path) for _ in range(PER_WINDOW[what])]
        assert 429 not in answered
        refused = await here.client.request(method, path)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert refused.headers["cache-control"] == "no-store"
        assert await status(there, method, path) == answered[0]
        edge.clock.now += 120
        assert await status(here, method, path) == answered[0]


@EACH
async def test_what_cannot_be_counted_is_not_answered(
    method: str, path: str, what: What, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        answered = await status(browser, method, path)
        asked: list[str] = []

        async def away(key: str) -> None:
            asked.append(key.partition("/")[0])
            raise StoreUnavailable("away")

        with monkeypatch.context() as store:
            store.setattr(edge.platform.atomics, "get", away)
            response = await browser.client.request(method, path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert asked == ["limit"], f"{what} is counted before anything else is looked at"
        assert await status(browser, method, path) == answered
