"""MCP Inspector's web UI, used by a person in the same browser that then signs in, consents, and takes it back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream
from playwright.async_api import Page

from tests.clients.oauth.person import Person
from tests.support.fleet import Fleet, free_port
from tests.support.node import bin_path, node_command, node_env

pytestmark = pytest.mark.anyio

DEADLINE_S = 30
NAME = "MCP Inspector"


@asynccontextmanager
async def inspecting(url: str, transport: str, era: str, home: Path) -> AsyncGenerator[str]:
    """The Inspector's own server, told to inspect `url`; the address of its page."""
    command = [*node_command(), bin_path("inspector"), "--web", "--server-url", url, "--transport", transport]
    env = {
        **node_env(),
        "HOME": str(home),
        "MCP_AUTO_OPEN_ENABLED": "false",
        "MCP_INSPECTOR_SECRET_STORE": "memory",
        **{f"{name}_PORT": str(free_port()) for name in ("CLIENT", "MCP_SANDBOX", "MCP_APP_ORIGIN")},
    }
    async with await anyio.open_process(
        [*command, "--protocol-era", era], env=env, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            with anyio.fail_after(DEADLINE_S):
                yield await _address(TextReceiveStream(process.stdout))
        finally:
            process.kill()


async def _address(printed: TextReceiveStream) -> str:
    said = ""
    async for text in printed:
        said += text
        if found := re.search(r"http://\S+API_TOKEN=\w+(?=\s)", said):
            return found[0]
    raise AssertionError(f"the Inspector ended: {said}")


async def consent(person: Person, page: Page) -> None:
    """Agree on the page to which the Inspector has led, and be back."""
    await page.get_by_role("heading", name="to use this server?").wait_for()
    await page.wait_for_load_state("networkidle")  # on HTTP+SSE it leads there twice
    await person.press(page, "Allow")
    if await page.get_by_role("heading", name="Sign in").count():
        await person.come_in(page)
    await page.get_by_text("Connected", exact=True).wait_for()


async def call(page: Page, tool: str) -> None:
    """Press the button of a tool that takes nothing."""
    await page.get_by_test_id("connection-status").get_by_text("Tools", exact=True).click()
    await page.get_by_role("button", name=tool).click()
    await page.get_by_role("button", name="Execute Tool").click()


@pytest.mark.parametrize(
    ("path", "transport", "era"), [("/mcp", "http", "modern"), ("/mcp", "http", "legacy"), ("/sse", "sse", "legacy")]
)
async def test_it_is_authorized_and_calls_and_once_more_after_its_user_took_it_back(
    fleet: Fleet, person: Person, tmp_path: Path, path: str, transport: str, era: str
) -> None:
    async with inspecting(fleet.url + path, transport, era, tmp_path) as address:
        page = await person.open(address)
        toggle = page.get_by_role("switch", name="Connect or disconnect")
        await toggle.dispatch_event("click")  # what is seen of it is drawn over it
        await consent(person, page)
        await call(page, "whoami")
        await page.get_by_text(person.name, exact=True).wait_for()
        await person.revoke(NAME)
        await call(page, "pid")
        await consent(person, page)
        await call(page, "whoami")
        await page.get_by_text(person.name, exact=True).wait_for()
