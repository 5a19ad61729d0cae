"""A click that was meant for what was there before a page of ours presses none of its buttons."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Locator, Page, Route

from mcp_edge.pages import connect, layout
from mcp_edge.pages.style import STYLE
from tests.clients.oauth.callback import Callback
from tests.clients.oauth.links import link
from tests.clients.oauth.person import Person
from tests.support import browser as support
from tests.support.fleet import Fleet

pytestmark = pytest.mark.anyio

AT = "t => document.getAnimations().forEach(a => { a.pause(); a.currentTime = t; })"
"""Stop the page's animations where they are so many milliseconds after its first frame."""
ANIMATED = "() => document.querySelectorAll('button').length === document.getAnimations().length"
GO_ON = """() => Promise.all(
    document.getAnimations().map(a => { a.currentTime = 0; a.play(); return a.finished; })
).then(() => {})"""
"""Let a whole second pass: so long is the page's own clock, which stood still, not to be ahead of the server's."""
BUTTONS = "() => [...document.querySelectorAll('button:not(.again)')].map(b => getComputedStyle(b).pointerEvents)"
HEARD = """() => { window.heard = 0; document.addEventListener('submit', e => { heard++; e.preventDefault(); }); }"""


async def at(page: Page, milliseconds: int) -> list[str]:
    """What the page's buttons make of a pointer then."""
    await page.evaluate(AT, milliseconds)
    return await page.evaluate(BUTTONS)


async def click(page: Page, button: Locator) -> None:
    """Press and release where the button is, as it is."""
    box = await button.bounding_box()
    assert box is not None
    await page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


async def armed(page: Page) -> None:
    """No click counts in the page's first second, on any of its buttons; later ones do. What the keyboard sends then is
    for the server to judge."""
    assert await page.evaluate(ANIMATED)
    await page.evaluate(HEARD)
    buttons = await page.get_by_role("button").all()
    for milliseconds in (0, 300, 800, 999):
        assert await at(page, milliseconds) == ["none"] * len(buttons), page.url
        for button in buttons:
            await click(page, button)
    assert await page.evaluate("heard") == 0
    await buttons[0].focus()
    await page.keyboard.press("Enter")
    assert await page.evaluate("heard") == 1
    assert await at(page, 1000) == ["auto"] * len(buttons)
    for button in buttons:
        await click(page, button)
    assert await page.evaluate("heard") == 1 + len(buttons)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
async def test_on_every_page_a_click_of_the_first_second_counts_for_nothing(
    person: Person, fleet: Fleet, callback: Callback, motion: Literal["no-preference", "reduce"]
) -> None:
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    await page.emulate_media(reduced_motion=motion)
    await armed(page)
    await page.goto(fleet.url + asked.path)
    await person.press(page, "Allow")
    await page.get_by_role("textbox").fill(person.name)
    await armed(page)
    await page.reload()
    await person.sign_in(page)
    await armed(page)
    await page.reload()
    await person.press(page, "Allow")
    await asked.redeem(await callback.result())
    await page.goto(f"{fleet.url}/apps")
    await armed(page)


NAMES: dict[str, Any] = {
    "provider": "GitHub",
    "server": "https://mcp.example",
    "user_name": "ada",
    "action": "/x",
    "shown": ("shown", "0"),
}
CONNECTING = {
    "before": connect.page(**NAMES, apps="/apps", replaces=False),
    "after": connect.arrived(**NAMES, account="octocat", handle="0"),
}


@pytest.mark.parametrize("name", CONNECTING)
async def test_so_it_is_where_an_account_is_connected(chromium: Browser, name: str) -> None:
    headers = {k.decode(): v.decode() for k, v in layout.headers(secure=False)}

    async def serve(route: Route) -> None:
        if route.request.url.endswith("/style.css"):
            await route.fulfill(body=STYLE, content_type="text/css")
        else:
            body = layout.document(CONNECTING[name], "")
            await route.fulfill(body=body, content_type="text/html; charset=utf-8", headers=headers)

    async with support.profile(chromium) as profile:
        page = await profile.page()
        await page.route("**/*", serve)
        await page.goto("http://127.0.0.1:9/")
        await armed(page)


async def test_a_click_that_comes_with_the_page_gives_no_code_and_the_next_one_does(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    """The second press of a double-click, whose first one another window has had."""
    await (await person.apps()).close()
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    place = await page.get_by_role("button", name="Allow", exact=True).bounding_box()
    assert place is not None
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    assert fleet.proxy is not None
    since = len(fleet.proxy.exchanges)
    await page.goto(f"{fleet.url}{asked.path}&prompt=consent", wait_until="commit")
    await page.get_by_role("button", name="Allow", exact=True).wait_for()
    await at(page, 265)
    await page.mouse.click(x, y)
    await page.evaluate(GO_ON)
    assert [seen.path for seen in fleet.proxy.exchanges[since:] if seen.method == "POST"] == []
    assert callback.arrivals == []
    await page.mouse.click(x, y)
    assert "code" in await callback.result()


async def test_a_press_that_began_too_early_ends_as_nothing(person: Person, fleet: Fleet, callback: Callback) -> None:
    await (await person.apps()).close()
    page = await person.open((await link(fleet.url, callback.url)).path)
    await page.evaluate(HEARD)
    await at(page, 999)
    place = await page.get_by_role("button", name="Allow", exact=True).bounding_box()
    assert place is not None
    await page.mouse.move(place["x"] + 9, place["y"] + 9)
    await page.mouse.down()
    await at(page, 1000)
    await page.mouse.up()
    assert await page.evaluate("heard") == 0
