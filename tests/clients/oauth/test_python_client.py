"""The official Python client, authorized by a person in a real browser, on each of its wires."""

from __future__ import annotations

from collections import Counter

import pytest
from mcp.client.auth import OAuthFlowError
from playwright.async_api import Browser

from tests.clients.oauth.callback import Callback
from tests.clients.oauth.person import Person
from tests.clients.oauth.python_client import NAME, application
from tests.clients.python_client import HTTP_SSE, MODERN
from tests.support import browser as support
from tests.support.fleet import Fleet

pytestmark = [
    pytest.mark.anyio,
    # What 2026-07-28 deprecates is what the older clients still use.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

HANDSHAKE = "2025-11-25"
versions = pytest.mark.parametrize("version", [MODERN, HANDSHAKE, HTTP_SSE])


@versions
async def test_it_finds_its_way_from_the_first_refusal_to_the_first_call(
    fleet: Fleet, person: Person, callback: Callback, version: str
) -> None:
    app = application(fleet, callback, person)
    path = "/sse" if version == HTTP_SSE else "/mcp"
    async with app.connected(version) as peer:
        assert await peer.call("whoami") == person.name
        assert [tool.name for tool in (await peer.client.list_tools()).tools] == [
            *("whoami", "pid", "read_page", "write_page")
        ]
        found = [(seen.method, seen.path, seen.status) for seen in peer.passed if seen.path != "/style.css"]
        first = "GET" if version == HTTP_SSE else "POST"
        assert found[:4] == [
            (first, path, 401),
            ("GET", f"/.well-known/oauth-protected-resource{path}", 200),
            ("GET", "/.well-known/oauth-authorization-server", 200),
            ("POST", "/register", 201),
        ]
        token = found.index(("POST", "/token", 200))
        assert {seen[1] for seen in found[4:token]} == {"/authorize", "/sign-in", "/consent"}
        assert found[token + 1] == (first, path, 200)
        taken = Counter(seen.port for seen in peer.passed)
        assert len(taken) == 2
    assert app.asked == ["page:read page:write"]
    assert app.wallet.tokens is not None
    assert app.wallet.tokens.scope == "page:read page:write"


async def test_with_a_document_of_its_own_it_registers_nowhere(
    fleet: Fleet, person: Person, callback: Callback, document: str
) -> None:
    app = application(fleet, callback, person)
    app.document = document
    async with app.connected(MODERN) as peer:
        assert await peer.call("whoami") == person.name
        assert "/register" not in [seen.path for seen in peer.passed]
    page = await person.apps()
    assert await page.get_by_text("client.example").count() == 1


@versions
async def test_it_comes_back_with_what_it_kept_and_asks_nobody(
    fleet: Fleet, person: Person, callback: Callback, version: str
) -> None:
    app = application(fleet, callback, person)
    for _ in range(2):
        async with app.connected(version) as peer:
            assert await peer.call("whoami") == person.name
    assert len(app.asked) == 1


@versions
async def test_it_refreshes_and_asks_nobody(fleet: Fleet, person: Person, callback: Callback, version: str) -> None:
    app = application(fleet, callback, person)
    async with app.connected(version) as peer:
        assert await peer.call("read_page") == "blank"
        before = app.wallet.tokens
        assert before is not None
        app.expire()
        assert await peer.call("whoami") == person.name
        after = app.wallet.tokens
        assert after is not None
        assert after.access_token != before.access_token
        assert after.refresh_token != before.refresh_token
        assert (after.scope, after.token_type) == (before.scope, before.token_type)
    assert len(app.asked) == 1


@versions
async def test_what_its_user_takes_back_is_refused_at_once_and_it_asks_again(
    fleet: Fleet, person: Person, callback: Callback, version: str
) -> None:
    app = application(fleet, callback, person)
    async with app.connected(version) as peer:
        assert await peer.call("whoami") == person.name
        await person.revoke(NAME)
        assert await peer.call("whoami") == person.name
        assert [seen.status for seen in peer.passed if seen.path == "/register"] == [201]
    assert len(app.asked) == 2


async def test_a_refresh_token_that_was_taken_back_is_refused_and_it_asks_again(
    fleet: Fleet, person: Person, callback: Callback
) -> None:
    app = application(fleet, callback, person)
    async with app.connected(HANDSHAKE) as peer:
        await person.revoke(NAME)
        app.expire()
        assert await peer.call("whoami") == person.name
        assert [seen.status for seen in peer.passed if seen.path == "/token"] == [200, 400, 200]
    assert len(app.asked) == 2


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_what_a_reader_may_not_do_it_asks_for_when_it_has_to(
    fleet: Fleet, person: Person, callback: Callback, version: str
) -> None:
    app = application(fleet, callback, person)
    app.answer = person.allow_reading
    async with app.connected(version) as peer:
        assert await peer.call("read_page") == "blank"
        assert app.wallet.tokens is not None
        assert app.wallet.tokens.scope == "page:read"
        assert "write_page" not in [tool.name for tool in (await peer.client.list_tools()).tools]
        app.answer = person.allow
        assert await peer.call("write_page", text="hello") == "written"
        assert app.wallet.tokens.scope == "page:read page:write"
        assert await peer.call("read_page") == f"hello ({person.name})"
        assert "write_page" in [tool.name for tool in (await peer.client.list_tools()).tools]
        assert await peer.call("erase_page") == "erased"
        assert [seen.status for seen in peer.passed if seen.status in (401, 403)] == [401, 403, 403]
    assert app.asked == ["page:read page:write", "page:read page:write", "page:read page:write page:erase"]


async def test_it_is_told_when_its_user_refuses(fleet: Fleet, person: Person, callback: Callback) -> None:
    app = application(fleet, callback, person)
    app.answer = person.deny
    with pytest.RaisesGroup(pytest.RaisesExc(OAuthFlowError, match="No authorization code"), flatten_subgroups=True):
        async with app.connected(HANDSHAKE):
            pass
    (arrival,) = callback.arrivals
    assert {name: value for name, value in arrival.items() if name != "state"} == {
        "error": "access_denied",
        "error_description": "The user denied the request.",
        "iss": fleet.url,
    }
    assert app.wallet.tokens is None


async def test_two_users_of_one_program_see_each_their_own(
    fleet: Fleet, person: Person, chromium: Browser, callback: Callback
) -> None:
    async with support.profile(chromium) as profile:
        ada, grace = (
            application(fleet, callback, person),
            application(fleet, callback, Person(profile, fleet.url, "grace")),
        )
        async with ada.connected(MODERN) as hers, grace.connected(MODERN) as others:
            assert await hers.call("write_page", text="mine") == "written"
            assert await others.call("read_page") == "blank"
            assert await hers.call("read_page") == f"mine ({person.name})"
            await hers.call("erase_page")
