"""Connected apps: what a user sees, what is taken back, and that nobody else can."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.auth.server.deployment import (
    CLIENT,
    Asking,
    Deploy,
    Deployment,
    allow,
    authorize,
    consent_page,
    deploy,
    exchange,
)
from tests.auth.server.upstream import UPSTREAM, GitHub, account_of
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

OTHER = {**CLIENT, "client_id": "other", "client_name": "Another app"}


async def works(edge: Deployment, token: str) -> bool:
    """Whether a call with this access token is answered."""
    async with edge.client() as client:
        response = await client.post(
            "/mcp",
            headers={"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"},
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "initialize",
                "params": {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": {"name": "a client", "version": "1"},
                },
            },
        )
    assert response.status_code in (200, 401), response.text
    return response.status_code == 200


async def refreshed(edge: Deployment, token: str) -> int:
    """The status with which a refresh is answered."""
    async with edge.client() as client:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "app"}
        return (await client.post("/token", data=form)).status_code


def day(edge: Deployment, seconds: float = 0) -> str:
    """The server's time, `seconds` from now, as the page writes it."""
    return datetime.fromtimestamp(edge.clock() + seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


async def sign_in(browser: Visitor, user: str) -> None:
    await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": user})


async def test_the_page_lists_what_may_do_what_and_since_when() -> None:
    edge = deploy(clients=(CLIENT, OTHER))
    async with edge.visitor() as browser:
        await authorize(browser, Asking(client_id="other"), button="Allow reading only")
        edge.clock.now += 3600
        await authorize(browser)
        page = await browser.visit("/apps")

    lines = page.text.split("\n")
    assert lines[:3] == ["Connected apps", "Connected apps", "Signed in as alice."]
    assert lines[3:-4] == [
        "An app",
        "registered here, returns to app.example. Connected 2027-01-15 09:00 UTC, last used 2027-01-15 09:00 UTC.",
        "It may:",
        "read your notes",
        "add and change notes",
        "Revoke",
        "Another app",
        "registered here, returns to app.example. Connected 2027-01-15 08:00 UTC, last used 2027-01-15 08:00 UTC.",
        "It may:",
        "read your notes",
        "Revoke",
    ]


async def test_a_revoked_app_has_no_access_and_the_others_keep_theirs(everywhere: Deploy) -> None:
    edge = everywhere(clients=(CLIENT, OTHER))
    async with edge.visitor() as browser:
        kept = await authorize(browser, Asking(client_id="other"))
        edge.clock.now += 1
        ended = await authorize(browser)
        page = await browser.press(await browser.visit("/apps"), "Revoke")  # the first one: the latest

        assert "The app no longer has access." in page.text
        assert ("An app" in page.text, "Another app" in page.text) == (False, True)
        assert [await works(edge, tokens["access_token"]) for tokens in (kept, ended)] == [True, False]
        assert await refreshed(edge, ended["refresh_token"]) == 400


async def test_an_app_that_came_back_for_more_is_one_app_and_revoked_as_one(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        first = await authorize(browser, button="Allow reading only")
        edge.clock.now += 3600
        second = await authorize(browser)
        page = await browser.visit("/apps")

        assert page.text.count("Revoke") == 1
        assert f"Connected {day(edge, -3600)}, last used {day(edge)}." in page.text
        assert ("read your notes" in page.text, "add and change notes" in page.text) == (True, True)
        page = await browser.press(page, "Revoke")
        assert "No app is connected." in page.text
        for tokens in (first, second):
            assert not await works(edge, tokens["access_token"])
            assert await refreshed(edge, tokens["refresh_token"]) == 400


async def test_a_code_that_a_revoked_app_still_holds_is_worth_nothing(everywhere: Deploy) -> None:
    edge = everywhere(clients=(CLIENT, OTHER))
    async with edge.visitor() as browser:
        await authorize(browser)
        waiting, others = Asking(more={"scope": "notes:write"}), Asking(client_id="other")
        codes = [
            (await allow(browser, await consent_page(browser, asking))).answer["code"] for asking in (waiting, others)
        ]
        await browser.press(await browser.visit("/apps"), "Revoke")

        assert (await exchange(browser.client, waiting, codes[0])).json()["error"] == "invalid_grant"
        assert (await exchange(browser.client, others, codes[1])).status_code == 200


async def test_an_app_of_somebody_else_is_left_alone(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as alices, edge.visitor() as mallorys:
        tokens = await authorize(alices, user="alice")
        form, _ = (await alices.visit("/apps")).button("Revoke")
        await sign_in(mallorys, "mallory")
        await mallorys.post("/apps", [*form.fields, ("do", "revoke")])
        assert await works(edge, tokens["access_token"])
        await alices.post("/apps", [*form.fields, ("do", "revoke")])
        assert not await works(edge, tokens["access_token"])


async def test_revoking_twice_or_nothing_is_no_error(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        await authorize(browser)
        form, _ = (await browser.visit("/apps")).button("Revoke")
        for fields in (form.fields, form.fields, [], [("app", "")], [("app", "nothing")], [("app", "é" * 300)]):
            page = await browser.post("/apps", [*fields, ("do", "revoke")])
            assert (page.status, page.heading) == (200, "Connected apps")


async def test_sign_out_everywhere_ends_every_app_browser_and_account(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as here, edge.visitor() as there, edge.visitor() as bobs:
        tokens = [await authorize(here), await authorize(there)]
        bobs_tokens = await authorize(bobs, user="bob")
        page = await here.press(await here.visit("/apps"), "Sign out everywhere")

        assert page.heading == "Sign in"
        assert [await works(edge, each["access_token"]) for each in tokens] == [False, False]
        assert [await refreshed(edge, each["refresh_token"]) for each in tokens] == [400, 400]
        assert (await there.visit("/apps")).heading == "Sign in"
        assert await works(edge, bobs_tokens["access_token"])
        assert (await bobs.visit("/apps")).heading == "Connected apps"


async def test_sign_out_everywhere_forgets_the_account_behind_the_tools(everywhere: Deploy) -> None:
    github = GitHub()
    edge = github.deploy(everywhere, upstream_account="identity")
    async with edge.visitor() as browser:
        away = await browser.press(await browser.visit("/sign-in"), "Continue with GitHub")
        page = await github.back(browser, away)
        before = await account_of(edge)
        await browser.press(page, "Sign out everywhere")

        assert before == UPSTREAM
        assert await account_of(edge) is None


async def test_signing_out_here_keeps_the_apps(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        tokens = await authorize(browser)
        page = await browser.press(await browser.visit("/apps"), "Sign out here")

        assert page.heading == "Sign in"
        assert await works(edge, tokens["access_token"])


async def test_who_is_not_signed_in_is_asked_to_and_changes_nothing(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as alices, edge.visitor() as nobodys:
        tokens = await authorize(alices)
        form, _ = (await alices.visit("/apps")).button("Revoke")
        page = await nobodys.post("/apps", [*form.fields, ("do", "revoke")])

        assert page.heading == "Sign in"
        assert await works(edge, tokens["access_token"])
        assert (await nobodys.press(page, "Sign in", type_in={"value": "alice"})).heading == "Connected apps"


@pytest.mark.parametrize("action", ["", "delete", "disconnect"])
async def test_what_no_button_says_is_refused(action: str) -> None:
    async with deploy().visitor() as browser:
        await sign_in(browser, "alice")
        form, _ = (await browser.visit("/apps")).button("Sign out everywhere")

        assert (await browser.post("/apps", [*form.fields, ("do", action)])).status == 400


async def test_a_form_from_elsewhere_revokes_nothing(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        tokens = await authorize(browser)
        form, _ = (await browser.visit("/apps")).button("Revoke")
        for origin, site in (("https://evil.example", "cross-site"), ("null", None), (None, None), ("", "cross-site")):
            for action in ("revoke", "sign-out-everywhere"):
                forged = await browser.post("/apps", [*form.fields, ("do", action)], origin=origin, site=site)
                assert forged.status == 403
        assert await works(edge, tokens["access_token"])
