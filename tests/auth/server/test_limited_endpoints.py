"""Every endpoint that anybody can reach counts its attempts, and answers none that it cannot count."""

from __future__ import annotations

import httpx
import pytest

from mcp_edge.auth.server.attempts import PER_WINDOW, Attempt
from mcp_edge.errors import StoreUnavailable
from tests.auth.server.deployment import deploy
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

ENDPOINTS: list[tuple[str, str, Attempt]] = [
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


async def ask(browser: Visitor, method: str, path: str) -> httpx.Response:
    """The answer to a form of ours, for a POST, or to a navigation."""
    form = {"origin": browser.origin, "content-type": "application/x-www-form-urlencoded"}
    return await browser.client.request(method, path, headers=form if method == "POST" else {})


async def status(browser: Visitor, method: str, path: str) -> int:
    """Its status."""
    return (await ask(browser, method, path)).status_code


@EACH
async def test_one_attempt_too_many_is_refused_and_no_other_address_with_it(
    method: str, path: str, what: Attempt
) -> None:
    edge = deploy()
    async with edge.visitor(address="198.51.100.7") as here, edge.visitor(address="198.51.100.8") as there:
        answered = [await status(here, method, path) for _ in range(PER_WINDOW[what])]
        assert 429 not in answered
        refused = await ask(here, method, path)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert refused.headers["cache-control"] == "no-store"
        assert await status(there, method, path) == answered[0]
        edge.clock.now += 120
        assert await status(here, method, path) == answered[0]


@EACH
async def test_what_cannot_be_counted_is_not_answered(
    method: str, path: str, what: Attempt, monkeypatch: pytest.MonkeyPatch
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
            response = await ask(browser, method, path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert asked == ["limit"], f"{what} is counted before anything else is looked at"
        assert await status(browser, method, path) == answered


PAGES = [(method, path) for method, path, what in ENDPOINTS if what not in ("token", "revoke", "new-client")]
ELSEWHERE = "https://evil.example"
IN_PASSING: dict[str, dict[str, str]] = {
    "no-cors fetch": {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "empty"},
    "fetch": {"origin": ELSEWHERE, "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    "fetch of a sandbox": {"origin": "null", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    "fetch of an old browser": {"origin": ELSEWHERE, "sec-fetch-site": ""},
    "image": {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "frame": {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    "object": {"sec-fetch-mode": "navigate", "sec-fetch-dest": "object"},
    "page of a sibling host": {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "empty"},
    "prefetch": {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-purpose": "prefetch;prerender"},
}
FORMS: dict[str, dict[str, str]] = {
    "form": {"origin": ELSEWHERE, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    "form of an old browser": {"origin": ELSEWHERE, "sec-fetch-site": ""},
    "form without an origin": {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    "fetch": {"origin": ELSEWHERE, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "empty"},
    "fetch of a sandbox": {"origin": "null", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "empty"},
}


def said(headers: dict[str, str]) -> dict[str, str]:
    """Attempt another site's page has a browser send; a value that is empty stays away."""
    return {name: value for name, value in {"sec-fetch-site": "cross-site", **headers}.items() if value}


@pytest.mark.parametrize(("method", "path"), PAGES, ids=[f"{m} {p[:12]}" for m, p in PAGES])
async def test_another_sites_page_uses_up_none_of_its_visitors_attempts(
    method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        answered = await status(browser, method, path)

        async def read(key: str) -> None:
            raise AssertionError(f"{key} is read")

        with monkeypatch.context() as store:
            store.setattr(edge.platform.atomics, "get", read)
            form = {"content-type": "application/x-www-form-urlencoded"} if method == "POST" else {}
            for how, headers in (FORMS if method == "POST" else IN_PASSING).items():
                response = await browser.client.request(method, path, headers={**form, **said(headers)})
                assert response.status_code == 403, how
            asked = {"origin": ELSEWHERE, "access-control-request-method": "PUT", "sec-fetch-mode": "cors"}
            for method_asked in ("OPTIONS", "PUT"):
                response = await browser.client.request(method_asked, path, headers=said(asked))
                assert response.status_code in (403, 405)
        assert await status(browser, method, path) == answered


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-user": "?1"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-purpose": "prefetch;prerender"},
    ],
    ids=["a program", "typed", "a link", "a sibling's link", "a link in an older browser", "typed, fetched ahead"],
)
async def test_whoever_goes_to_a_page_sees_it(headers: dict[str, str]) -> None:
    async with deploy().visitor() as browser:
        for path in ("/authorize", "/sign-in", "/oauth/callback", "/apps"):
            plain = await browser.client.get(path)
            assert (await browser.client.get(path, headers=headers)).status_code == plain.status_code != 403


async def test_what_programs_of_every_origin_may_use_stays_open_to_them() -> None:
    async with deploy().visitor() as browser:
        headers = {"origin": ELSEWHERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
        for path in ("/token", "/revoke", "/register"):
            response = await browser.client.post(path, headers=headers)
            assert response.status_code in (400, 401, 415)
            assert response.headers["access-control-allow-origin"] == "*"
        preflight = {**headers, "access-control-request-method": "POST"}
        assert (await browser.client.options("/token", headers=preflight)).status_code == 204
        assert (await browser.client.get("/.well-known/oauth-authorization-server", headers=headers)).status_code == 200
