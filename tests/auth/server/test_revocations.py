"""Whoever takes an app's access back has taken back what is being approved for it at that moment, too."""

from __future__ import annotations

import pytest

from tests.auth.server.deployment import Asking, Deploy, allow, consent_page, exchange
from tests.auth.server.interleaving import approving, between, meanwhile
from tests.support.visitor import Page, Visitor

pytestmark = pytest.mark.anyio

OPERATIONS = 11
"""More than any request below needs: a test sees the last ones go by undisturbed."""
AT = between(OPERATIONS)


async def revoke(browser: Visitor) -> None:
    """Take back what the one app has, on the page of connected apps."""
    assert "No app is connected." in (await browser.press(await browser.visit("/apps"), "Revoke")).text


async def works(browser: Visitor, asking: Asking, page: Page) -> bool:
    """Whether the app got a code with which it gets tokens."""
    code = page.answer.get("code", "") if page.left else ""
    return (await exchange(browser.client, asking, code)).status_code == 200


async def passes(browser: Visitor) -> bool:
    """Whether the app is let in without a page."""
    return bool((await consent_page(browser, Asking(), site="none")).left)


@AT
async def test_a_code_that_is_approved_meanwhile_is_worth_nothing(
    everywhere: Deploy, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer whose consent is written after the revocation is a later decision, and stands."""
    edge, asking = everywhere(), Asking()
    async with approving(edge) as (here, there):
        page = await consent_page(there, asking)
        log = meanwhile(edge, monkeypatch, at, lambda: revoke(here))
        answer = await there.press(page, "Allow")
        monkeypatch.undo()
        disturbed = len(log) >= at
        later = any(entry.startswith(("create consent/", "swap consent/")) for entry in log[at - 1 :])
        assert not (disturbed and at == OPERATIONS)

        assert await works(there, asking, answer) is (not disturbed or later), log
        assert await passes(there) is (not disturbed or later)
        assert (await there.visit("/apps")).heading == "Connected apps"


@AT
async def test_a_consent_that_is_recalled_meanwhile_gives_nothing(
    everywhere: Deploy, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, asking = everywhere(), Asking()
    async with approving(edge) as (here, there):
        log = meanwhile(edge, monkeypatch, at, lambda: revoke(here))
        answer = await consent_page(there, asking, site="none")
        monkeypatch.undo()
        disturbed = len(log) >= at
        assert not (disturbed and at == OPERATIONS)

        assert await works(there, asking, answer) is not disturbed, log
        again = Asking()
        page = await consent_page(there, again, site="none")
        assert bool(page.left) is not disturbed
        assert await works(there, again, page if page.left else await allow(there, page))
