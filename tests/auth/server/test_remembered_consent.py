"""Consent that was given before: what passes without a page, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_edge.auth.server.browser.remembered_consent import LIFE_S
from tests.auth.server.deployment import (
    CLIENT,
    LOOPBACK,
    Asking,
    Deploy,
    Deployment,
    allow,
    authorize,
    consent_page,
    deploy,
)
from tests.support.visitor import Page, Visitor

pytestmark = pytest.mark.anyio

OTHER: dict[str, Any] = {**CLIENT, "client_id": "other", "client_name": "Another app"}
LONG: dict[str, Any] = {"clients": (CLIENT, OTHER), "sign_in_ttl_s": 2 * LIFE_S}


def passed(page: Page) -> bool:
    """Whether the browser was sent on with a code; a page otherwise."""
    assert bool(page.left) != page.heading.startswith("Allow "), page.text
    return "code" in page.answer if page.left else False


async def allowed_once(edge: Deployment, asking: Asking | None = None) -> Visitor:
    """A browser whose user has allowed this before."""
    browser = edge.visitor()
    await authorize(browser, asking)
    return browser


async def test_the_same_request_of_the_same_user_passes(everywhere: Deploy) -> None:
    browser = await allowed_once(everywhere())
    page = await consent_page(browser, Asking(state="next"), site="none")

    assert passed(page)
    assert page.answer["state"] == "next"


async def test_a_page_elsewhere_cannot_send_the_user_through(everywhere: Deploy) -> None:
    browser = await allowed_once(everywhere())
    for site in ("cross-site", "same-site", "same-origin", "", "None", "none, none"):
        assert not passed(await consent_page(browser, Asking(), site=site))
    assert passed(await consent_page(browser, Asking(), site="none"))


@pytest.mark.parametrize("missing", ["sec-fetch-site", "sec-fetch-dest"])
async def test_a_browser_that_does_not_say_who_began_sees_the_page(missing: str) -> None:
    browser = await allowed_once(deploy())
    headers = {"sec-fetch-site": "none", "sec-fetch-dest": "document"}
    whole = await browser.client.get("/authorize", params=Asking().query, headers=headers)
    less = await browser.client.get(
        "/authorize", params=Asking().query, headers={k: v for k, v in headers.items() if k != missing}
    )

    assert (whole.status_code, less.status_code) == (303, 200)


@pytest.mark.parametrize("dest", ["iframe", "embed", "image", "empty"])
async def test_a_frame_sees_the_page(dest: str) -> None:
    browser = await allowed_once(deploy())
    headers = {"sec-fetch-site": "none", "sec-fetch-dest": dest}
    framed = await browser.client.get("/authorize", params=Asking().query, headers=headers)

    assert framed.status_code == 200
    assert "frame-ancestors 'none'" in framed.headers["content-security-policy"]


OTHERS: tuple[dict[str, Any], ...] = (
    {"client_id": "other"},
    {"redirect_uri": LOOPBACK},
    {"more": {"resource": "https://mcp.example/mcp"}},
    {"more": {"scope": "notes:read"}},
    {"more": {"scope": "notes:read notes:write notes:delete"}},
    {"more": {"prompt": "consent"}},
)


async def test_anything_else_is_asked(everywhere: Deploy) -> None:
    browser = await allowed_once(everywhere(**LONG))
    for other in OTHERS:
        assert not passed(await consent_page(browser, Asking(**other), site="none"))
    assert passed(await consent_page(browser, Asking(), site="none"))


async def test_an_app_on_loopback_is_asked_for_each_time(everywhere: Deploy) -> None:
    """Any program can listen there, once the app does not (RFC 8252 §8.6)."""
    browser = await allowed_once(everywhere(), Asking(redirect_uri="http://127.0.0.1:1111/callback"))

    assert not passed(await consent_page(browser, Asking(redirect_uri="http://127.0.0.1:2222/callback"), site="none"))
    assert not passed(await consent_page(browser, Asking(redirect_uri="http://127.0.0.1:1111/callback"), site="none"))


async def test_another_user_is_asked(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await allowed_once(edge)
    async with edge.visitor() as theirs:
        await theirs.press(await theirs.visit("/sign-in"), "Sign in", type_in={"value": "bob"})
        assert not passed(await consent_page(theirs, Asking(), site="none"))
    assert passed(await consent_page(browser, Asking(), site="none"))


async def test_who_is_not_signed_in_is_asked(everywhere: Deploy) -> None:
    edge = everywhere()
    await allowed_once(edge)
    async with edge.visitor() as fresh:
        assert not passed(await consent_page(fresh, Asking(), site="none"))


async def test_who_gave_less_than_was_asked_for_is_asked_again(everywhere: Deploy) -> None:
    """The app may be back because that was not enough."""
    browser = everywhere().visitor()
    await authorize(browser, untick=("notes:write",))
    assert not passed(await consent_page(browser, Asking(), site="none"))

    await authorize(browser)
    assert passed(await consent_page(browser, Asking(), site="none"))


async def test_a_request_that_is_answered_is_shown_when_it_comes_back(everywhere: Deploy) -> None:
    browser, asking = everywhere().visitor(), Asking()
    await authorize(browser, asking)
    assert not passed(await consent_page(browser, asking, site="none"))
    assert passed(await consent_page(browser, Asking(), site="none"))


async def test_a_later_choice_takes_the_place_of_the_earlier_one(everywhere: Deploy) -> None:
    browser = await allowed_once(everywhere())
    assert passed(await consent_page(browser, Asking(), site="none"))

    await authorize(browser, button="Allow reading only")
    assert not passed(await consent_page(browser, Asking(), site="none"))


async def test_who_signs_out_everywhere_is_asked_again(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await allowed_once(edge)
    await browser.press(await browser.visit("/apps"), "Sign out everywhere")
    await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})

    assert not passed(await consent_page(browser, Asking(), site="none"))


async def test_a_denial_is_not_remembered_as_consent(everywhere: Deploy) -> None:
    async with everywhere().visitor() as browser:
        await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
        await browser.press(await consent_page(browser, Asking()), "Deny")

        assert not passed(await consent_page(browser, Asking(), site="none"))


async def test_it_is_forgotten_thirty_days_after_the_decision(everywhere: Deploy) -> None:
    edge = everywhere(**LONG)
    browser = await allowed_once(edge)
    edge.clock.now += LIFE_S - 1
    assert passed(await consent_page(browser, Asking(), site="none"))
    edge.clock.now += 1
    assert not passed(await consent_page(browser, Asking(), site="none"))


async def test_who_takes_the_access_back_is_asked_again(everywhere: Deploy) -> None:
    edge = everywhere(**LONG)
    browser = await allowed_once(edge)
    await allow(browser, await consent_page(browser, Asking(client_id="other")))
    await browser.press(await browser.visit("/apps"), "Revoke")

    assert not passed(await consent_page(browser, Asking(), site="none"))
    assert passed(await consent_page(browser, Asking(client_id="other"), site="none"))


async def test_who_has_decided_before_can_be_asked_without_a_page(everywhere: Deploy) -> None:
    browser = await allowed_once(everywhere())
    silent = Asking(more={"prompt": "none"})

    assert passed(await consent_page(browser, silent, site="none"))
    assert (await consent_page(browser, silent, site="cross-site")).answer["error"] == "interaction_required"
