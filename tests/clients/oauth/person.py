"""What a person does at the pages, as a person finds them: by headings, labels and buttons. It knows no client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from playwright.async_api import Locator, Page

from tests.support.browser import Profile

MOST_PAGES = 4


@dataclass(slots=True)
class Person:
    """Somebody at a browser of their own. `name` is whom they sign in as."""

    profile: Profile
    url: str
    """The server's own URL."""
    name: str

    async def allow(self, url: str) -> None:
        """Follow a client's link, sign in if asked to, and agree to everything."""
        await self.answer(url, "Allow")

    async def allow_reading(self, url: str) -> None:
        """The same, but agree to reading only."""
        await self.answer(url, "Allow reading only")

    async def deny(self, url: str) -> None:
        """The same, but refuse."""
        await self.answer(url, "Deny")

    async def answer(self, url: str, button: str, *, without: Sequence[str] = ()) -> None:
        """Follow a client's link, untick what is in `without`, press `button`, and arrive at the client's own page.
        Who signs in on the way is asked again, under that name, for what was chosen before."""
        page = await self.open(url)
        for _ in range(MOST_PAGES):
            if not page.url.startswith(self.url):
                await page.close()
                return
            if await page.get_by_role("heading", name="Sign in").count():
                await self.sign_in(page)
            elif await page.get_by_role("status").count():
                await self.press(page, "Allow")
            else:
                for label in without:
                    await page.get_by_label(label).uncheck()
                await self.press(page, button)
        raise AssertionError(f"the pages go on: {page.url}\n{await page.inner_text('body')}")

    async def open(self, path: str) -> Page:
        """A tab at a path of the server, or at a whole URL."""
        page = await self.profile.page()
        await page.goto(self.url + path if path.startswith("/") else path)
        return page

    async def sign_in(self, page: Page) -> None:
        """Answer the page that asks who it is."""
        await page.get_by_role("textbox").fill(self.name)
        await self.press(page, "Sign in")

    async def come_in(self, page: Page) -> None:
        """Sign in on the way to a client, and agree once more, now that the page bears this name."""
        await self.sign_in(page)
        assert await page.get_by_text(f"{self.name} Not you?").count() == 1
        await self.press(page, "Allow")

    async def apps(self) -> Page:
        """The page of connected apps."""
        page = await self.open("/apps")
        if await page.get_by_role("heading", name="Sign in").count():
            await self.sign_in(page)
        return page

    async def revoke(self, app: str) -> None:
        """Take back what `app` was allowed."""
        page = await self.apps()
        await self.press(page, f"Revoke {app}")
        await page.close()

    async def press(self, page: Page | Locator, button: str) -> None:
        """Press a button that leads to another page, and wait for that page."""
        tab = page if isinstance(page, Page) else page.page
        found = page.get_by_role("button", name=button, exact=True)
        assert await found.count() == 1, f"{tab.url} has no button {button!r}:\n{await tab.inner_text('body')}"
        async with tab.expect_navigation():
            await found.click()
