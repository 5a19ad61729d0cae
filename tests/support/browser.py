"""A real headless Chromium for tests, and a note of everything that it complains about. It knows no page of ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, WebError, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
OPTIONS = (
    "--no-sandbox",  # its own sandbox does not work for root, who runs the tests in a container
    # Nothing is reached but loopback, which has the names of one site as well.
    "--host-resolver-rules=MAP *.example.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
DEADLINE_MS = 15_000


def chromium_path() -> str:
    """The browser that `MCP_TEST_CHROMIUM` names, else the first one found.

    Raises:
        RuntimeError: there is none. Nothing is skipped instead: what is not tested would look as if it were.
    """
    named = os.environ.get("MCP_TEST_CHROMIUM")
    found = [named] if named else [*map(shutil.which, NAMES), MACOS]
    for path in found:
        if path and os.access(path, os.X_OK):
            return path
    where = f" at {named}" if named else ""
    raise RuntimeError(
        f"These tests drive a real browser, and there is none{where}. Install Chromium (Debian: apt-get install "
        "chromium) or Google Chrome, or set MCP_TEST_CHROMIUM to the path of one."
    )


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """The browser while the context is open; each person has a `context` of their own in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(OPTIONS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(slots=True)
class Profile:
    """A browser profile of its own: its cookies are its own, and what went wrong in its pages is noted."""

    context: BrowserContext
    heard: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """URL and text of errors and warnings on the console (violations of the content security policy among them), and of
    uncaught errors."""

    def complaints(self, url: str) -> list[str]:
        """What was heard of pages under `url`."""
        return [f"{where}: {text}" for where, text in self.heard if where.startswith(url)]

    async def page(self) -> Page:
        """A new tab."""
        return await self.context.new_page()


@asynccontextmanager
async def profile(
    browser: Browser,
    *,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    script: bool = True,
    any_certificate: bool = False,
) -> AsyncGenerator[Profile]:
    """A fresh profile whose window is `width` pixels wide. `script` says whether pages may run any, `any_certificate`
    that a server's need not be signed by anybody known."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        java_script_enabled=script,
        ignore_https_errors=any_certificate,
    )
    context.set_default_timeout(DEADLINE_MS)
    mine = Profile(context)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            mine.heard.append((message.location.get("url") or "", message.text))

    def on_error(error: WebError) -> None:
        mine.heard.append((error.page.url if error.page else "", str(error.error)))

    context.on("console", on_console)
    context.on("weberror", on_error)
    try:
        yield mine
    finally:
        await context.close()
