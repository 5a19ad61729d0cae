"""`MCP_SECRET_KEYS=new,old`: a secret is replaced while everybody stays signed in and authorized."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.auth.server.deployment import Asking, Deployment, allow, authorize, consent_page, deploy, redeem
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

OLD, NEW = SecretStr("old-" * 12), SecretStr("new-" * 12)
MODERN = "2026-07-28"


@pytest.fixture
def before() -> Deployment:
    return deploy(secret_keys=(OLD,))


@pytest.fixture
def during(before: Deployment) -> Deployment:
    return before.instance(secret_keys=(NEW, OLD))


@pytest.fixture
def after(before: Deployment) -> Deployment:
    return before.instance(secret_keys=(NEW,))


async def listed(at: Deployment, token: str) -> int:
    """The status of a call with this access token."""
    envelope = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": envelope}}
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/list",
    }
    async with at.client() as client:
        return (await client.post("/mcp", json=message, headers=headers)).status_code


async def refresh(at: Deployment, token: str) -> httpx.Response:
    """What /token says to a refresh token."""
    async with at.client() as client:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "app"}
        return await client.post("/token", data=form)


async def authorized(at: Deployment) -> dict[str, Any]:
    async with at.visitor() as browser:
        return await authorize(browser)


def moved(browser: Visitor, to: Deployment) -> Visitor:
    """The same browser, served by another process."""
    arrived = to.visitor()
    for cookie in browser.client.cookies.jar:
        arrived.client.cookies.jar.set_cookie(cookie)
    return arrived


async def test_tokens_from_before_are_good_during_the_change_and_not_without_the_secret_they_were_sealed_under(
    before: Deployment, during: Deployment, after: Deployment
) -> None:
    tokens = await authorized(before)

    assert await listed(before, tokens["access_token"]) == 200
    assert await listed(during, tokens["access_token"]) == 200
    assert await listed(after, tokens["access_token"]) == 401


async def test_what_was_renewed_during_the_change_is_good_after_it(
    before: Deployment, during: Deployment, after: Deployment
) -> None:
    tokens = await authorized(before)
    renewed = await refresh(during, tokens["refresh_token"])
    assert renewed.status_code == 200
    assert await listed(after, renewed.json()["access_token"]) == 200
    again = await refresh(after, renewed.json()["refresh_token"])

    assert again.status_code == 200
    assert await listed(after, again.json()["access_token"]) == 200


async def test_a_refresh_token_that_was_not_renewed_ends_with_its_secret(
    before: Deployment, during: Deployment, after: Deployment
) -> None:
    tokens = await authorized(before)

    assert (await refresh(after, tokens["refresh_token"])).status_code == 400
    assert (await refresh(during, tokens["refresh_token"])).status_code == 200


async def test_an_authorization_that_is_under_way_is_finished_during_the_change(
    before: Deployment, during: Deployment
) -> None:
    asking = Asking()
    async with before.visitor() as browser:
        page = await consent_page(browser, asking)
        async with moved(browser, during) as later:
            back = await allow(later, page)
            tokens = await redeem(later.client, asking, back.answer["code"])

    assert await listed(during, tokens["access_token"]) == 200


async def test_a_code_from_before_is_redeemed_during_the_change(before: Deployment, during: Deployment) -> None:
    asking = Asking()
    async with before.visitor() as browser, during.client() as client:
        back = await allow(browser, await consent_page(browser, asking))
        tokens = await redeem(client, asking, back.answer["code"])

    assert await listed(before, tokens["access_token"]) == 401
    assert await listed(during, tokens["access_token"]) == 200


async def test_a_browser_that_is_signed_in_stays_so_during_the_change_and_is_asked_after_it(
    before: Deployment, during: Deployment, after: Deployment
) -> None:
    async with before.visitor() as browser:
        await authorize(browser)
        async with moved(browser, during) as later, moved(browser, after) as too_late:
            known, asked = await later.visit("/apps"), await too_late.visit("/apps")

    assert "An app" in known.text
    assert [known.forms[0].blanks, asked.forms[0].blanks] == [[], ["value"]]
