"""The pages as Chromium shows them: to the eye, to a screen reader (axe), on a phone, by keyboard, without scripts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Locator, Page

from tests.clients.oauth.callback import Callback
from tests.clients.oauth.links import Link, link
from tests.clients.oauth.person import Person
from tests.support import browser as support
from tests.support.fleet import Fleet
from tests.support.node import NODE_MODULES

pytestmark = pytest.mark.anyio

NAME = "A reader with a rather long name, such as programs give themselves at times"
CONSENT = f"Allow {NAME} to use this server?"
MOST_TABS = 20
PEOPLE = count(1)


@cache
def axe() -> str:
    """The engine that judges a page by WCAG 2.2 AA and good practice."""
    return (NODE_MODULES / "axe-core" / "axe.min.js").read_text()


async def faults(page: Page) -> list[Any]:
    """What axe finds, and how far the page is wider than its window."""
    await page.evaluate(axe())  # by the debugger, which the page's own policy does not bind
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    told = [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found["violations"]]
    return [*told, *([f"{page.url} is {wider} px wider than its window"] if wider > 0 else [])]


async def judged(page: Page) -> str:
    """The heading of a page in which axe finds no fault, and which is no wider than its window."""
    assert await faults(page) == []
    (heading,) = await page.get_by_role("heading", level=1).all_inner_texts()
    return heading


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control called `name` has the focus, and shows it."""
    for _ in range(MOST_TABS):
        await page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if name in (await focused.get_attribute("aria-label"), await focused.inner_text(), await _label(focused)):
            assert await focused.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


async def looked(page: Page) -> None:
    """Be as slow as a person: the buttons take pointers by now."""
    await page.evaluate("() => Promise.all(document.getAnimations().map(a => a.finished)).then(() => {})")


async def _label(control: Locator) -> str:
    return await control.evaluate("e => e.labels?.[0]?.innerText ?? ''")


async def asking(fleet: Fleet, callback: Callback) -> Link:
    """The link of a client that asks for everything."""
    return await link(fleet.url, callback.url, name=NAME, scope="page:read page:write page:erase")


@asynccontextmanager
async def somebody(chromium: Browser, fleet: Fleet, **options: Any) -> AsyncGenerator[Person]:
    """A person whose browser is of a certain kind; `person` has the usual one."""
    async with support.profile(chromium, **options) as profile:
        yield Person(profile, fleet.url, f"reader-{next(PEOPLE)}")
        assert profile.complaints(fleet.url) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
async def test_every_page_is_without_fault_at_every_width_and_in_both_colour_schemes(
    chromium: Browser, fleet: Fleet, callback: Callback, width: int, scheme: Literal["light", "dark"]
) -> None:
    async with somebody(chromium, fleet, width=width, scheme=scheme) as person:
        asked = await asking(fleet, callback)
        page = await person.open(asked.path)
        headings = [await judged(page)]
        await person.press(page, "Allow")
        headings.append(await judged(page))
        await person.sign_in(page)
        headings.append(await judged(page))
        await person.press(page, "Allow")
        await asked.redeem(await callback.result())
        for path in ("/apps", f"{asked.path}&prompt=consent"):
            await page.goto(fleet.url + path)
            headings.append(await judged(page))
        assert headings == [CONSENT, "Sign in", CONSENT, "Connected apps", CONSENT]


async def test_a_refusal_is_a_page_without_fault(person: Person, fleet: Fleet, callback: Callback) -> None:
    asked = await asking(fleet, callback)
    page = await person.profile.page()
    answer = await page.goto(fleet.url + asked.path.replace("redirect_uri=http", "redirect_uri=https"))
    assert answer is not None
    assert answer.status == 400
    assert await judged(page) == "That did not work"
    assert await page.get_by_role("alert").inner_text() == (
        "The app wants the answer sent to an address that it has not registered."
    )
    assert callback.arrivals == []
    (complaint,) = person.profile.complaints(fleet.url)  # Chromium notes the status of any page that is an error
    assert "400" in complaint
    person.profile.heard.clear()


async def test_the_keyboard_alone_is_enough(person: Person, fleet: Fleet, callback: Callback) -> None:
    asked = await asking(fleet, callback)
    page = await person.open(asked.path)
    await tab_to(page, "write on your page")
    await page.keyboard.press("Space")
    await tab_to(page, "Allow")
    await looked(page)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('Sign in')")
    await page.keyboard.type(person.name)  # the field has the focus
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await tab_to(page, "Allow")
    await looked(page)
    await page.keyboard.press("Enter")
    await asked.redeem(await callback.result())
    page = await person.open("/apps")
    assert await page.get_by_role("listitem").all_inner_texts() == ["read your page", "erase your page"]
    await tab_to(page, f"Revoke {NAME}")
    await looked(page)
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    assert await page.get_by_text("No app is connected.").count() == 1


FRAGMENTS = ["scope-0", "value", "leave", "app-0", ":~:text=Allow%20reading%20only"]
"""What a link may add to lead the focus to."""


@pytest.mark.parametrize("fragment", FRAGMENTS)
async def test_enter_alone_allows_nothing_however_long_it_is_held(
    person: Person, fleet: Fleet, callback: Callback, fragment: str
) -> None:
    """A key that a page in front of ours has asked for, and that goes to the window that has come instead."""
    await (await person.apps()).close()
    asked = await asking(fleet, callback)
    assert fleet.proxy is not None
    since = len(fleet.proxy.exchanges)
    page = await person.open(f"{asked.path}#{fragment}")
    for _ in range(3):
        await page.keyboard.press("Enter")
    await looked(page)
    for _ in range(3):
        await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement === document.body")
    assert [seen.path for seen in fleet.proxy.exchanges[since:] if seen.method == "POST"] == []
    assert callback.arrivals == []


async def test_enter_at_a_choice_shows_the_page_again_as_it_was_and_space_allows(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    await (await person.apps()).close()
    asked = await asking(fleet, callback)
    page = await person.open(asked.path)
    await tab_to(page, "write on your page")
    await page.keyboard.press("Space")
    await looked(page)
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    assert await judged(page) == CONSENT
    assert (await page.get_by_role("status").inner_text()).startswith("Nothing has been decided yet.")
    assert callback.arrivals == []
    ticked = [await box.is_checked() for box in await page.get_by_role("checkbox").all()]
    assert ticked == [True, False, True]
    await tab_to(page, "Allow")
    await looked(page)
    await page.keyboard.press("Space")
    assert set((await asked.redeem(await callback.result()))["scope"].split()) == {"page:read", "page:erase"}


async def test_no_script_is_needed(chromium: Browser, fleet: Fleet, callback: Callback) -> None:
    async with somebody(chromium, fleet, script=False) as person:
        asked = await asking(fleet, callback)
        await person.allow(asked.path)
        await asked.redeem(await callback.result())
        await person.revoke(NAME)


async def test_somebody_else_can_take_the_place_of_who_is_signed_in(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    asked = await asking(fleet, callback)
    await (await person.apps()).close()
    page = await person.open(asked.path)
    assert await page.get_by_text(person.name).count() == 1
    await person.press(page, "Not you?")
    person.name = "grace"
    await person.press(page, "Allow")
    await person.come_in(page)
    assert "code" in await callback.result()
    page = await person.open("/apps")
    assert await page.get_by_text("Signed in as grace.").count() == 1
