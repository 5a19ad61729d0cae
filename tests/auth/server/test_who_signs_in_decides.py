"""Whoever signs in is asked, by a page that bears his name, whatever was pressed before: nobody's sign-in ends what
somebody else has begun, not even where that other had the same cookie (a binding that was planted).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from tests.auth.server.deployment import SIGNED_IN, Asking, Deploy, Deployment, authorize, consent_page, deploy, redeem
from tests.auth.server.test_sign_in import KEY, key_settings
from tests.auth.server.upstream import GitHub
from tests.support.visitor import Page, Visitor

pytestmark = pytest.mark.anyio

BINDING = "__Host-mcp-browser"
EVIL: dict[str, Any] = {
    "client_id": "evil",
    "client_name": "Evil",
    "redirect_uris": ["https://evil.example/cb"],
}
SignIn = Callable[[Visitor, Page], Awaitable[Page]]
"""What a victim does at the page, or the address, at which somebody else's flow waits."""


def asking(**more: str) -> Asking:
    """What the attacker's app asks for."""
    return Asking(client_id="evil", redirect_uri="https://evil.example/cb", more=more)


def typing(value: str) -> SignIn:
    """Open the link, and type."""

    async def sign_in(browser: Visitor, waiting: Page) -> Page:
        return await browser.press(await browser.visit(waiting.url), "Sign in", type_in={"value": value})

    return sign_in


async def returning(browser: Visitor, waiting: Page) -> Page:
    """Come back from the provider."""
    sent = parse_qs(urlsplit(waiting.left).query)
    return await browser.visit(f"{sent['redirect_uri'][0]}?code=a-code&state={sent['state'][0]}", site="cross-site")


def sentry() -> httpx.AsyncClient:
    """A Sentry whose every user is octocat."""
    answer = {"access_token": "a", "token_type": "bearer", "user": {"id": "1", "name": "octocat"}}
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=json.dumps(answer))))


ELSEWHERE: dict[str, Any] = {
    "identity_client_id": "us",
    "identity_client_secret": SecretStr("ours"),
    "allowed_users": ("*",),
}
PROVIDERS: dict[str, tuple[dict[str, Any], SignIn, str]] = {
    "dev": ({"identity": "dev"}, typing("alice"), "alice"),
    "keys": (key_settings(), typing(KEY), "alice"),
    "github": (
        {"identity": "github", "identity_issuer": "https://github.example", "http": GitHub().client, **ELSEWHERE},
        returning,
        "octocat",
    ),
    "sentry": ({"identity": "sentry", "http": sentry, **ELSEWHERE}, returning, "octocat"),
}
"""Settings, what a user does to sign in, and how that user is named. `oidc` has a real one in `tests/auth/identity`."""


def site(provider: str, on: Deploy = deploy, **more: Any) -> tuple[Deployment, SignIn, str]:
    """A server with this identity provider, that knows the attacker's app."""
    settings, sign_in, name = PROVIDERS[provider]
    return on(**{"clients": (EVIL,), **settings, **more}), sign_in, name


async def begun(attacker: Visitor, wanted: Asking, **pressed: Any) -> Page:
    """A flow for which the attacker has pressed Allow himself, up to the sign-in."""
    return await attacker.press(await consent_page(attacker, wanted), "Allow", **pressed)


def as_planted(attacker: Visitor, victim: Visitor) -> None:
    """Give both browsers the same binding, as if it could be planted."""
    victim.client.cookies.set(BINDING, attacker.cookie(BINDING), domain="mcp.example")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_sign_in_gives_no_code_for_what_somebody_else_has_allowed(provider: str) -> None:
    edge, sign_in, name = site(provider)
    async with edge.visitor() as attacker, edge.visitor() as victim:
        wanted = asking()
        waiting = await begun(attacker, wanted)
        as_planted(attacker, victim)
        asked = await sign_in(victim, waiting)

        assert (asked.status, asked.left, asked.heading) == (200, "", "Allow Evil to use this server?")
        lines = asked.text.split("\n")
        assert lines[lines.index("Returns to") + 1] == "evil.example"
        assert lines[lines.index("You") + 1] == f"{name} Not you?"
        assert SIGNED_IN in asked.text
        assert "No app is connected." in (await victim.visit("/apps")).text
        assert (await victim.press(asked, "Deny")).answer["error"] == "access_denied"

    async with edge.visitor() as honest:
        mine = asking()
        asked = await sign_in(honest, await begun(honest, mine))
        back = await honest.press(asked, "Allow")
        assert (await redeem(honest.client, mine, back.answer["code"]))["scope"] == "notes:read notes:write"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_was_allowed_before_is_recalled_for_nobody_who_has_just_signed_in(provider: str) -> None:
    """The victim uses the app; the attacker would have him bring his grant into the attacker's account there."""
    edge, sign_in, _ = site(provider)
    async with edge.visitor() as attacker, edge.visitor() as victim:
        first = await victim.press(await sign_in(victim, await begun(victim, asking())), "Allow")
        assert "code" in first.answer
        assert "code" in (await consent_page(victim, asking(), site="none")).answer  # it is remembered
        await victim.press(await victim.visit("/apps"), "Sign out here")
        waiting = await begun(attacker, asking())
        as_planted(attacker, victim)
        assert SIGNED_IN in (await sign_in(victim, waiting)).text


async def test_who_signs_in_is_offered_what_was_chosen_before_and_no_more(everywhere: Deploy) -> None:
    edge, sign_in, _ = site("dev", everywhere)
    async with edge.visitor() as browser:
        wanted = asking()
        asked = await sign_in(browser, await begun(browser, wanted, untick=("notes:write",)))
        form, _ = asked.button("Allow")
        forged = await browser.post("/consent", [*form.fields, ("scope", "notes:write"), ("choice", "allow")])
        back = await browser.press(asked, "Allow")

        assert [value for name, value in form.fields if name == "scope"] == ["notes:read"]
        assert (forged.status, forged.left) == (400, "")
        assert (await redeem(browser.client, wanted, back.answer["code"]))["scope"] == "notes:read"


async def test_reading_only_stays_so_after_the_sign_in() -> None:
    edge, sign_in, _ = site("dev")
    async with edge.visitor() as browser:
        wanted = asking(scope="notes:write")
        page = await browser.press(await consent_page(browser, wanted), "Allow reading only")
        asked = await sign_in(browser, page)
        back = await browser.press(asked, "Allow")

        assert "It may read your notes." in asked.text
        assert (await redeem(browser.client, wanted, back.answer["code"]))["scope"] == "notes:read"


async def test_the_page_can_be_loaded_again_and_is_answered_once_in_its_own_browser(everywhere: Deploy) -> None:
    edge, sign_in, _ = site("dev", everywhere)
    async with edge.visitor() as browser, edge.visitor() as other:
        asked = await sign_in(browser, await begun(browser, asking()))
        await consent_page(other, asking())
        again, elsewhere = await browser.visit(asked.url), await other.visit(asked.url)
        first = await browser.press(again, "Allow")
        second = await browser.press(asked, "Allow")
        at_sign_in = await browser.visit(asked.url.replace("/consent?", "/sign-in?"))

        assert urlsplit(asked.url).path == "/consent"
        assert (SIGNED_IN in again.text, elsewhere.status, at_sign_in.status) == (True, 403, 403)
        assert "code" in first.answer
        assert (second.status, "This was already answered." in second.text) == (400, True)
        edge.clock.now += 600
        assert (await browser.visit(asked.url)).status == 403


async def test_the_page_names_whoever_is_signed_in_when_it_is_loaded(everywhere: Deploy) -> None:
    edge, sign_in, _ = site("dev", everywhere)
    async with edge.visitor() as browser:
        asked = await sign_in(browser, await begun(browser, asking()))
        await browser.press(await browser.visit("/apps"), "Sign out here")
        nobody = await browser.visit(asked.url)
        await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "bob"})
        stale = await browser.press(asked, "Allow")

        assert (SIGNED_IN in nobody.text, "You will sign in next." in nobody.text) == (False, True)
        assert "Who is signed in has changed" in stale.text
        assert "bob Not you?" in stale.text
        assert "code" in (await browser.press(stale, "Allow")).answer


@pytest.mark.parametrize("flow", ["", "x", "0" * 64, "%00", "\u00e9"])
async def test_a_question_that_nobody_has_is_refused(flow: str) -> None:
    async with deploy().visitor() as browser:
        await authorize(browser)
        assert (await browser.visit("/consent", flow=flow)).status == 403


async def test_not_you_after_the_sign_in_begins_anew_with_all_that_was_asked_for() -> None:
    edge, sign_in, _ = site("dev")
    async with edge.visitor() as browser:
        asked = await sign_in(browser, await begun(browser, asking(), untick=("notes:write",)))
        anew = await browser.press(asked, "Not you?")
        form, _ = anew.button("Allow")

        assert [value for name, value in form.fields if name == "scope"] == ["notes:read", "notes:write"]
        assert "You will sign in next." in anew.text
        assert (await browser.visit("/apps")).heading == "Sign in"


async def test_who_is_signed_in_is_asked_once(everywhere: Deploy) -> None:
    edge, _, _ = site("dev", everywhere)
    async with edge.visitor() as browser:
        await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
        assert "code" in (await browser.press(await consent_page(browser, asking()), "Allow")).answer


async def test_a_user_whom_the_provider_names_again_was_shown_the_page() -> None:
    github = GitHub()
    edge = github.deploy(upstream_account="identity")
    async with edge.visitor() as browser:
        await github.back(browser, await browser.press(await consent_page(browser, Asking()), "Allow"))
        await browser.press(await browser.visit("/apps"), "Disconnect")
        away = await browser.press(await consent_page(browser, Asking()), "Allow")
        back = await returning(browser, away)

        assert "code" in back.answer


async def test_the_page_that_asks_for_a_key_says_for_whom_and_what_for() -> None:
    edge, _, _ = site("keys")
    async with edge.visitor() as browser:
        page = await begun(browser, asking(), untick=("notes:write",))

        assert page.text.split("\n")[1:9] == [
            "Sign in",
            "To go on to Evil. It has not been allowed anything: you are asked once you are signed in.",
            "Returns to",
            "evil.example",
            "It asks to",
            "read your notes",
            "If you have not just started this in that app, close this page.",
            "Access key",
        ]
        assert "form-action 'self';" in page.response.headers["content-security-policy"]
        own = await browser.visit("/sign-in")
        assert "Returns to" not in own.text


async def test_a_page_of_ours_is_reached_by_a_sign_in_without_a_question() -> None:
    async with deploy().visitor() as browser:
        await authorize(browser)
        await browser.press(await browser.visit("/apps"), "Sign out here")
        page = await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
        assert page.heading == "Connected apps"
