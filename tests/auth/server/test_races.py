"""What counts once, counts once when it comes many times at once: answers, sign-ins, codes and refreshes, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.auth.server.deployment import Asking, Deploy, Deployment, allow, consent_page, exchange, sign_in
from tests.auth.server.upstream import GitHub
from tests.support.visitor import Page, Visitor

pytestmark = pytest.mark.anyio

RACERS = 20


async def at_once(edge: Deployment, browser: Visitor, step: Callable[[Visitor], Awaitable[Page]]) -> list[Page]:
    """Where so many tabs of one browser arrive that take the same step. Each has an address of its own, since the count
    of attempts would keep those of one address apart."""
    tabs = [edge.visitor(address=f"198.51.100.{n}") for n in range(RACERS)]
    for tab in tabs:
        tab.client.cookies.update(browser.client.cookies)
    return list(await asyncio.gather(*(step(tab) for tab in tabs)))


def codes(pages: list[Page]) -> list[str]:
    """The codes among where they arrived; everything else must be a refusal."""
    assert all(page.left or page.status in (400, 403) for page in pages), [page.status for page in pages]
    return [page.answer["code"] for page in pages if page.left]


async def refreshed(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """What a refresh is answered."""
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "app"}
    return await client.post("/token", data=form)


async def test_of_many_answers_to_one_page_one_counts(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
        asking = Asking()
        page = await consent_page(browser, asking)
        (code,) = codes(await at_once(edge, browser, lambda tab: tab.press(page, "Allow")))
        assert (await exchange(browser.client, asking, code)).status_code == 200


async def test_of_many_sign_ins_in_one_step_one_counts(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        asking = Asking()
        page = await browser.press(await consent_page(browser, asking), "Allow")
        (code,) = codes(await at_once(edge, browser, lambda tab: sign_in(tab, page)))
        assert (await exchange(browser.client, asking, code)).status_code == 200


async def test_of_many_returns_from_the_provider_one_counts(everywhere: Deploy) -> None:
    github = GitHub()
    edge = github.deploy(everywhere)
    async with edge.visitor() as browser:
        asking = Asking()
        away = await browser.press(await consent_page(browser, asking), "Allow")
        (code,) = codes(await at_once(edge, browser, lambda tab: github.back(tab, away)))
        assert github.asked == ["/login/oauth/access_token", "/api/v3/user"], "a code of the provider is sent once"
        assert (await exchange(browser.client, asking, code)).status_code == 200


async def test_of_many_redemptions_of_a_users_code_at_most_one_gets_tokens_and_they_are_ended(
    everywhere: Deploy,
) -> None:
    edge, asking, other = everywhere(), Asking(), Asking()
    async with edge.visitor() as browser, edge.instance().client() as elsewhere:
        code = (await allow(browser, await consent_page(browser, asking))).answer["code"]
        kept = (await allow(browser, await consent_page(browser, other))).answer["code"]
        instances = (edge, edge.instance())
        clients = [instances[n % 2].visitor(address=f"198.51.100.{n}").client for n in range(RACERS)]
        answers = await asyncio.gather(*(exchange(client, asking, code) for client in clients))
        won = [answer.json() for answer in answers if answer.status_code == 200]
        lost = [answer.json()["error"] for answer in answers if answer.status_code == 400]
        assert (len(won) <= 1, len(won) + len(lost), set(lost)) == (True, RACERS, {"invalid_grant"})
        for tokens in won:
            assert (await refreshed(elsewhere, tokens["refresh_token"])).json()["error"] == "invalid_grant"

        honest = await exchange(elsewhere, other, kept)
        assert (await refreshed(browser.client, honest.json()["refresh_token"])).status_code == 200


async def test_a_code_is_redeemed_by_who_asked_for_it_alone(everywhere: Deploy) -> None:
    edge, asking = everywhere(), Asking()
    async with edge.visitor() as browser:
        code = (await allow(browser, await consent_page(browser, asking))).answer["code"]
        thieves = [
            Asking(),  # without the verifier
            Asking(verifier=asking.verifier, redirect_uri="https://evil.example/"),
            Asking(verifier=asking.verifier, client_id="another"),
        ]
        stolen = [(await exchange(browser.client, thief, code)).json()["error"] for thief in thieves]
        assert stolen == ["invalid_grant", "invalid_grant", "invalid_client"]
        assert (await exchange(browser.client, asking, code)).status_code == 200
        assert (await exchange(browser.client, asking, code)).json()["error"] == "invalid_grant"


async def test_a_denial_and_an_approval_at_once_are_one_answer(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
        page, buttons = await consent_page(browser, Asking()), iter(("Deny", "Allow") * RACERS)
        pages = await at_once(edge, browser, lambda tab: tab.press(page, next(buttons)))
        told = [page.answer for page in pages if page.left]
        assert (len(told), {page.status for page in pages if not page.left}) == (1, {400})
