"""What only a browser decides: how it keeps our cookies, what Back and a second answer do, and what a web client may do
from an origin of its own.
"""

from __future__ import annotations

import httpx
import pytest

from tests.clients.oauth.callback import Callback
from tests.clients.oauth.links import link
from tests.clients.oauth.person import Person
from tests.support.fleet import Fleet

pytestmark = pytest.mark.anyio


async def test_on_loopback_cookies_are_plain_but_unseen_by_scripts_and_other_sites(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    await person.allow((await link(fleet.url, callback.url)).path)
    port = fleet.url.rpartition(":")[2]
    plain = {"domain": "127.0.0.1", "path": "/", "httpOnly": True, "secure": False, "sameSite": "Lax"}
    assert [
        {name: value for name, value in cookie.items() if name not in ("value", "expires")}
        for cookie in await person.profile.context.cookies()
    ] == [{"name": f"mcp-browser-{port}", **plain}, {"name": f"mcp-session-{port}", **plain}]


async def test_back_after_consent_shows_the_page_and_repeats_nothing(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    await (await person.apps()).close()
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    await person.press(page, "Allow")
    tokens = await asked.redeem(await callback.result())
    await page.go_back()
    assert await page.get_by_role("button", name="Allow", exact=True).count() == 1
    assert len(callback.arrivals) == 1
    async with httpx.AsyncClient() as client:
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        assert (await client.get(f"{fleet.url}/mcp", headers=headers)).status_code != 401


async def test_back_to_a_sign_in_that_is_done_leads_nowhere(person: Person, fleet: Fleet, callback: Callback) -> None:
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    await person.press(page, "Allow")
    await person.sign_in(page)
    assert len(callback.arrivals) == 1
    await page.go_back()
    assert await page.get_by_role("alert").inner_text() == (
        "This was begun in another browser, or is no longer valid. Start again from your app."
    )
    assert len(callback.arrivals) == 1
    (complaint,) = person.profile.complaints(fleet.url)  # Chromium notes the status of any page that is an error
    assert "403" in complaint
    person.profile.heard.clear()


async def test_a_page_is_answered_once(person: Person, fleet: Fleet, callback: Callback) -> None:
    await (await person.apps()).close()
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    answered = await page.locator("input[name=flow]").first.input_value()
    await person.press(page, "Allow")
    assert len(callback.arrivals) == 1
    page = await person.open(f"{asked.path}&prompt=consent")
    await page.locator("form:has(button.main) input[name=flow]").evaluate("(e, flow) => (e.value = flow)", answered)
    await person.press(page, "Allow")
    assert await page.get_by_role("alert").inner_text() == (
        "This was already answered. If your app still waits, start again from there."
    )
    assert len(callback.arrivals) == 1
    (complaint,) = person.profile.complaints(fleet.url)  # Chromium notes the status of any page that is an error
    assert "400" in complaint
    person.profile.heard.clear()
