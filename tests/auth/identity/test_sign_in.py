"""A whole sign-in at a real OpenID Connect provider, and each way in which it ends without one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from tests.auth.identity.provider import Provider
from tests.auth.server.deployment import SIGNED_IN, Asking, Deployment, confirm, consent_page, deploy, redeem
from tests.support.visitor import Page, Visitor

pytestmark = pytest.mark.anyio


def at(provider: Provider, http: httpx.AsyncClient, **settings: object) -> Deployment:
    """A server whose users sign in at the provider, at the time that it is there."""
    site = deploy(http=lambda: http, **provider.settings_of_server(**settings))
    site.clock.now = time.time()
    return site


@pytest.fixture
def site(provider: Provider, http: httpx.AsyncClient) -> Deployment:
    return at(provider, http)


@pytest.fixture
async def visitor(site: Deployment) -> AsyncIterator[Visitor]:
    async with site.visitor() as browser:
        yield browser


async def leave(visitor: Visitor, asking: Asking | None = None) -> str:
    """Consent, and be sent to the provider: its address."""
    return (await visitor.press(await consent_page(visitor, asking or Asking()), "Allow")).left


async def back(visitor: Visitor, url: str, **changed: str | None) -> Page:
    """Come back from the provider, with some parameters changed on the way, or gone, and allow what is asked then."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **changed}
    told = urlencode({name: value for name, value in query.items() if value is not None})
    return await confirm(visitor, await visitor.visit(f"{parts.path}?{told}", site="cross-site"))


def refusal(page: Page) -> dict[str, str]:
    """What a client is told, without what is the same in every answer."""
    answer = page.answer
    assert answer.pop("iss") == "https://mcp.example"
    assert answer.pop("state") == "a state"
    return answer


async def test_a_user_of_the_provider_gives_a_client_its_tokens(provider: Provider, visitor: Visitor) -> None:
    asking = Asking()
    left = await leave(visitor, asking)
    sent = {name: values[0] for name, values in parse_qs(urlsplit(left).query).items()}

    page = await back(visitor, await provider.answer(left, "login=alice"))

    assert {name: sent[name] for name in ("scope", "response_type", "code_challenge_method", "redirect_uri")} == {
        "scope": "openid profile",
        "response_type": "code",
        "code_challenge_method": "S256",
        "redirect_uri": "https://mcp.example/oauth/callback",
    }
    assert page.answer["iss"] == "https://mcp.example"
    assert (await redeem(visitor.client, asking, page.answer["code"]))["token_type"] == "Bearer"
    assert "alice" in (await visitor.visit("/apps")).text


async def test_a_user_who_comes_to_our_pages_is_brought_back_to_them(provider: Provider, visitor: Visitor) -> None:
    asked = await visitor.visit("/apps")
    left = await visitor.press(asked, f"Continue with {provider.name}")

    page = await back(visitor, await provider.answer(left.left, "login=alice"))

    assert (page.status, urlsplit(page.url).path) == (200, "/apps")


async def test_a_user_who_denies_there_is_a_denial_for_the_client(provider: Provider, visitor: Visitor) -> None:
    page = await back(visitor, await provider.answer(await leave(visitor), "deny=1"))

    assert refusal(page) == {
        "error": "access_denied",
        "error_description": f"The sign-in at {provider.name} was cancelled or denied.",
    }


async def test_what_the_provider_sent_back_counts_once(provider: Provider, visitor: Visitor) -> None:
    url = await provider.answer(await leave(visitor), "login=alice")
    assert "code" in (await back(visitor, url)).answer

    again = await back(visitor, url)

    assert (again.status, again.left) == (403, "")


async def test_a_sign_in_ends_in_the_browser_where_it_began(
    provider: Provider, site: Deployment, visitor: Visitor
) -> None:
    url = await provider.answer(await leave(visitor), "login=alice")
    async with site.visitor() as other:
        await consent_page(other, Asking())
        stolen = await back(other, url)
        assert (stolen.status, stolen.left) == (403, "")
        assert "alice" not in (await other.visit("/apps")).text

    assert "code" in (await back(visitor, url)).answer


async def test_a_sign_in_takes_ten_minutes_at_most(provider: Provider, site: Deployment, visitor: Visitor) -> None:
    url = await provider.answer(await leave(visitor), "login=alice")
    site.clock.now += 601

    assert (await back(visitor, url)).status == 403


@pytest.mark.parametrize("iss", ["https://evil.test", None], ids=["another server's", "missing"])
async def test_an_answer_of_another_server_is_refused(provider: Provider, visitor: Visitor, iss: str | None) -> None:
    page = await back(visitor, await provider.answer(await leave(visitor), "login=alice"), iss=iss)

    assert refusal(page) == {
        "error": "access_denied",
        "error_description": "This answer is not from the server that you were sent to. Start again.",
    }


@pytest.mark.parametrize("code", ["invented", "x" * 40_000, "%00\r\nx: y"], ids=["invented", "long", "control"])
async def test_a_code_that_the_provider_did_not_give_signs_nobody_in(
    provider: Provider, visitor: Visitor, code: str
) -> None:
    page = await back(visitor, await provider.answer(await leave(visitor), "login=alice"), code=code)

    assert refusal(page)["error"] == "access_denied"
    assert "alice" not in (await visitor.visit("/apps")).text


async def test_a_parameter_that_comes_twice_is_refused_and_uses_nothing_up(
    provider: Provider, visitor: Visitor
) -> None:
    url = await provider.answer(await leave(visitor), "login=alice")
    assert (await visitor.visit(f"{url}&code=other", site="cross-site")).status == 400

    assert "code" in (await back(visitor, url)).answer


async def test_a_code_of_another_sign_in_is_of_no_use(provider: Provider, site: Deployment, visitor: Visitor) -> None:
    theirs = dict(parse_qsl(urlsplit(await provider.answer(await leave(visitor), "login=mallory")).query))
    async with site.visitor() as victim:
        url = await provider.answer(await leave(victim), "login=alice")

        page = await back(victim, url, code=theirs["code"])

        assert refusal(page)["error"] == "access_denied"


async def test_new_keys_of_the_provider_are_found(provider: Provider, site: Deployment) -> None:
    for _ in range(2):
        async with site.visitor() as browser:
            assert "code" in (await back(browser, await provider.answer(await leave(browser), "login=alice"))).answer
        await provider.post("/rotate")


async def test_a_provider_that_is_down_is_said_to_be(http: httpx.AsyncClient) -> None:
    with Provider() as provider:
        site = at(provider, http)
        async with site.visitor() as browser:
            url = await provider.answer(await leave(browser), "login=alice")
            provider.stop()

            assert refusal(await back(browser, url)) == {
                "error": "temporarily_unavailable",
                "error_description": f"{provider.name} could not be reached, or broke off its answer.",
            }


async def test_a_provider_that_cannot_be_found_is_a_page_that_says_so(http: httpx.AsyncClient) -> None:
    with Provider() as provider:
        site = at(provider, http)
    async with site.visitor() as browser:
        page = await browser.press(await consent_page(browser, Asking()), "Allow")

    assert (page.status, page.left) == (502, "")
    assert "The sign-in service did not answer; try again." in page.text


async def test_a_wrong_secret_of_ours_is_no_fault_of_the_user(provider: Provider, http: httpx.AsyncClient) -> None:
    site = at(provider, http, identity_client_secret=SecretStr("wrong"))
    async with site.visitor() as browser:
        page = await back(browser, await provider.answer(await leave(browser), "login=alice"))

    assert refusal(page) == {
        "error": "temporarily_unavailable",
        "error_description": f"{provider.name} does not accept this server: its operator must correct its client.",
    }


@pytest.mark.parametrize(
    ("allowed", "login", "let_in"),
    [
        (("@users.test",), "alice", True),
        (("alice@users.test",), "alice", True),
        (("Alice@Users.TEST",), "alice", True),
        (("alice",), "alice", True),
        (("bob", "@else.test"), "alice", False),
        (("@test",), "alice", False),
        (("@users.test",), "mallory", False),
        (("mallory@users.test",), "mallory", False),
    ],
    ids=["domain", "address", "case", "subject", "others", "parent domain", "unverified domain", "unverified address"],
)
async def test_only_admitted_users_come_in(
    provider: Provider, http: httpx.AsyncClient, allowed: tuple[str, ...], login: str, let_in: bool
) -> None:
    async with at(provider, http, allowed_users=allowed).visitor() as browser:
        page = await back(browser, await provider.answer(await leave(browser), f"login={login}"))

        if let_in:
            assert "code" in page.answer
        else:
            assert refusal(page) == {
                "error": "access_denied",
                "error_description": "Your account may not use this server. Ask its operator to admit you.",
            }
            assert (await browser.visit("/apps")).heading == "Sign in"


async def test_who_signs_in_there_is_asked_what_somebody_else_has_allowed(provider: Provider, site: Deployment) -> None:
    async with site.visitor() as attacker, site.visitor() as victim:
        url = await leave(attacker)
        victim.client.cookies.set("__Host-mcp-browser", attacker.cookie("__Host-mcp-browser"), domain="mcp.example")
        asked = await victim.visit(await provider.answer(url, "login=alice"), site="cross-site")

        assert (asked.status, asked.left) == (200, "")
        assert (SIGNED_IN in asked.text, "alice Not you?" in asked.text) == (True, True)
        assert "code" in (await victim.press(asked, "Allow")).answer
