"""A provider that lies gets no code of another one's (mix-up, RFC 9700 §4.4): each answers at an address of its own."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.auth.server.connecting import THERE, TwoGitHubs, leave
from tests.auth.server.deployment import PUBLIC_URL, Deploy
from tests.auth.server.upstream import OCTOCAT, UPSTREAM, GitHub, account_of
from tests.support.visitor import Page

pytestmark = pytest.mark.anyio


def elsewhere(page: Page, path: str) -> str:
    """The URL of the answer to `page`, but at another path of ours."""
    return urlsplit(GitHub.returning(page))._replace(path=path).geturl()


async def test_the_identity_providers_code_is_not_taken_to_where_an_account_is_connected(everywhere: Deploy) -> None:
    """The other one has sent the browser on to the identity provider, which knows the address of a sign-in alone."""
    both = TwoGitHubs()
    edge = both.deploy(everywhere)
    async with edge.visitor() as browser:
        await both.sign_in(browser)
        away = await leave(edge, browser)
        lured = await browser.visit(elsewhere(away, "/oauth/callback"), site="cross-site")
        assert (lured.status, lured.left, both.there.asked) == (403, "", [])

        arrived = await both.there.back(browser, away)
        assert await account_of(edge, issuer=THERE) is None
        assert (await browser.press(arrived, "Connect")).heading == "Connected"
        assert await account_of(edge, issuer=THERE) == UPSTREAM


async def test_what_an_account_is_connected_with_signs_nobody_in(everywhere: Deploy) -> None:
    both = TwoGitHubs()
    edge = both.deploy(everywhere)
    async with edge.visitor() as browser:
        away = await browser.press(await browser.visit("/apps"), "Continue with GitHub")
        lured = await browser.visit(elsewhere(away, "/oauth/connected"), site="cross-site")
        assert (lured.status, lured.left, both.identity.asked) == (403, "", [])
        assert (await both.identity.back(browser, away)).heading == "Connected apps"


async def test_each_provider_is_told_its_own_address_to_answer_at(everywhere: Deploy) -> None:
    both = TwoGitHubs()
    edge = both.deploy(everywhere)
    async with edge.visitor() as browser:
        signing_in = await browser.press(await browser.visit("/apps"), "Continue with GitHub")
        await both.identity.back(browser, signing_in)
        pages = (signing_in, await leave(edge, browser))
        told = [parse_qs(urlsplit(page.left).query)["redirect_uri"] for page in pages]
        assert told == [[f"{PUBLIC_URL}/oauth/callback"], [f"{PUBLIC_URL}/oauth/connected"]]
        assert await account_of(edge, OCTOCAT, THERE) is None
