"""The consent page and its answer: what is granted, and that nobody else can answer for the user."""

from __future__ import annotations

import base64
import logging
from urllib.parse import urlsplit

import pytest

from mcp_edge.auth.server.browser.arming import ARM_S
from tests.auth.server.deployment import Asking, Deploy, Deployment, allow, authorize, consent_page, deploy, redeem
from tests.support.visitor import Page, Visitor

pytestmark = pytest.mark.anyio


def fields(page: Page, choice: str = "allow") -> list[tuple[str, str]]:
    """What the page's Allow button sends."""
    form, _ = page.button("Allow")
    return [*form.fields, ("choice", choice)]


async def signed_in(edge: Deployment, user: str = "alice") -> Visitor:
    """A browser in which somebody is signed in."""
    browser = edge.visitor()
    page = await browser.visit("/sign-in")
    assert (await browser.press(page, "Sign in", type_in={"value": user})).heading == "Connected apps"
    return browser


async def test_the_page_says_who_wants_what_and_where_it_goes() -> None:
    edge = deploy()
    browser = await signed_in(edge)
    page = await consent_page(browser, Asking(more={"resource": f"{edge.url}/mcp"}))

    assert page.text.split("\n") == [
        "Allow An app?",
        "Allow An app to use this server?",
        "App",
        "Admitted by the operator of this server: An app",
        "Returns to",
        "app.example",
        "Server",
        "https://mcp.example/mcp",
        "You",
        "alice Not you?",
        "It may",
        "read your notes",
        "add and change notes",
        "This includes: read your notes.",
        "Allow",
        "Allow reading only",
        "Deny",
        "Allow it only if you have just started this in that app. "
        "You can take it back at any time under connected apps.",
    ]


async def test_deny_tells_the_client_and_grants_nothing(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await signed_in(edge)
    back = await browser.press(await consent_page(browser, Asking()), "Deny")

    assert back.answer == {
        "error": "access_denied",
        "error_description": "The user denied the request.",
        "state": "a state",
        "iss": "https://mcp.example",
    }
    assert "No app is connected." in (await browser.visit("/apps")).text


async def test_what_is_unticked_is_not_granted() -> None:
    edge = deploy()
    async with edge.visitor() as all_of_it, edge.visitor() as less:
        assert (await authorize(all_of_it))["scope"] == "notes:read notes:write"
        assert (await authorize(less, user="bob", untick=("notes:write",)))["scope"] == "notes:read"


async def test_read_only_grants_what_changes_nothing() -> None:
    async with deploy().visitor() as browser:
        assert (await authorize(browser, button="Allow reading only"))["scope"] == "notes:read"
        implied = Asking(more={"scope": "notes:write"})
        assert (await authorize(browser, implied, button="Allow reading only"))["scope"] == "notes:read"


async def test_read_only_is_offered_only_where_it_is_less() -> None:
    async with deploy().visitor() as browser:
        for scope, offered in (("notes:read notes:write", True), ("notes:read", False), ("notes:delete", False)):
            page = await consent_page(browser, Asking(more={"scope": scope}))
            buttons = [text for form in page.forms for _, _, text in form.buttons]
            assert buttons == ["Allow", *(["Allow reading only"] if offered else []), "Deny"]


async def test_nothing_chosen_is_asked_again() -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        again = await browser.press(page, "Allow", untick=("notes:read", "notes:write"))

        assert "Choose at least one thing that the app may do, or deny." in again.text
        assert "code" in (await allow(browser, again)).answer


@pytest.mark.parametrize(
    ("name", "value"), [("scope", "notes:delete"), ("scope", "admin"), ("choice", "everything"), ("choice", "")]
)
async def test_an_answer_that_the_page_does_not_offer_is_refused(name: str, value: str) -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        sent = [(key, given) for key, given in fields(page) if (key, name) != ("choice", "choice")]
        forged = await browser.post("/consent", [*sent, (name, value)])

        assert (forged.status, forged.left) == (400, "")
        assert "code" in (await allow(browser, page)).answer


async def test_an_answer_counts_once(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await signed_in(edge)
    page = await consent_page(browser, Asking())
    first = await browser.press(page, "Allow")
    again = await browser.press(page, "Allow")
    denied = await browser.press(page, "Deny")

    assert "code" in first.answer
    assert [(p.status, p.left) for p in (again, denied)] == [(400, ""), (400, "")]
    assert "This was already answered." in again.text


async def test_a_page_is_answered_within_ten_minutes() -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        old, fresh = await consent_page(browser, Asking()), await consent_page(browser, Asking())
        begun = edge.clock.now
        edge.clock.now = begun + 599 - ARM_S
        assert "code" in (await allow(browser, fresh)).answer
        edge.clock.now = begun + 600 - ARM_S
        late = await browser.press(old, "Deny")

        assert (late.status, late.left) == (400, "")
        assert "more than ten minutes old" in late.text


async def test_what_was_asked_in_one_browser_is_not_allowed_in_another(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as mine:
        theirs = await signed_in(edge, "mallory")
        page = await consent_page(theirs, Asking(client_id="app"))
        await consent_page(mine, Asking())  # so that this browser has a cookie of its own
        forged = await mine.post("/consent", fields(page))
        honest = await theirs.post("/consent", fields(page))

        assert (forged.status, forged.left) == (403, "")
        assert "another browser" in forged.text
        assert "code" in honest.answer


async def test_without_the_browsers_cookie_nothing_is_allowed(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await signed_in(edge)
    page = await consent_page(browser, Asking())
    bare = await browser.post("/consent", fields(page), cookies=False)
    whole = await browser.post("/consent", fields(page))

    assert (bare.status, bare.left) == (403, "")
    assert "code" in whole.answer


ELSEWHERE = [
    ("https://evil.example", "cross-site"),
    ("https://evil.example", None),
    ("https://evil.example", "same-origin"),
    ("null", "cross-site"),
    ("null", None),
    ("http://mcp.example", None),
    ("https://mcp.example:444", None),
    ("https://mcp.example.evil.example", None),
    ("", "cross-site"),
    ("", "same-site"),
    ("", "none"),
    (None, "cross-site"),
    (None, None),
]
"""Origin and Sec-Fetch-Site of forms that are not ours; an empty origin is our own, None is none."""


async def test_a_form_from_elsewhere_is_refused_and_uses_nothing_up(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await signed_in(edge)
    page = await consent_page(browser, Asking())
    for origin, site in ELSEWHERE:
        forged = await browser.post("/consent", fields(page), origin=origin, site=site)
        assert (forged.status, forged.left) == (403, "")
    assert "No app is connected." in (await browser.visit("/apps")).text
    assert "code" in (await browser.post("/consent", fields(page))).answer


@pytest.mark.parametrize(("origin", "site"), [("", None), (None, "same-origin"), ("", "same-origin")])
async def test_a_form_of_ours_passes_in_browsers_that_say_less(origin: str | None, site: str | None) -> None:
    edge = deploy()
    browser = await signed_in(edge)
    page = await consent_page(browser, Asking())

    assert "code" in (await browser.post("/consent", fields(page), origin=origin, site=site)).answer


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", ""])
async def test_another_content_type_is_refused(kind: str) -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        forged = await browser.post("/consent", fields(page), headers={"content-type": kind})
        honest = "application/x-www-form-urlencoded; charset=UTF-8"

        assert (forged.status, forged.left) == (415, "")
        assert "code" in (await allow(browser, page)).answer
        page = await consent_page(browser, Asking(state="next"))
        assert (await browser.post("/consent", fields(page), headers={"content-type": honest})).status != 415


@pytest.mark.parametrize("position", [0, 3, 10, 40, -1])
async def test_an_altered_flow_is_refused(position: int) -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        form, _ = page.button("Allow")
        sealed = bytearray(base64.urlsafe_b64decode(form.value("flow")))
        sealed[position] ^= 1
        forged = await browser.post(
            "/consent",
            [("flow", base64.urlsafe_b64encode(sealed).decode()), ("scope", "notes:read"), ("choice", "allow")],
        )

        assert (forged.status, forged.left) == (403, "")


@pytest.mark.parametrize("flow", ["", "x", "é", "%00", "AAAA", "A" * 5000, "../../flow"])
async def test_a_flow_that_nobody_sealed_is_refused(flow: str) -> None:
    async with deploy().visitor() as browser:
        forged = await browser.post("/consent", [("flow", flow), ("choice", "allow")])

        assert (forged.status, forged.left) == (403, "")


async def test_a_flow_sealed_before_the_secret_was_replaced_still_opens() -> None:
    edge = deploy()
    (old,) = edge.platform.settings.secret_keys
    newer = edge.instance(secret_keys=(type(old)("n" * 64), old))
    stranger = edge.instance(secret_keys=(type(old)("s" * 64),))
    async with edge.visitor() as browser:
        asking = Asking()
        page = await consent_page(browser, asking)
        cookies = browser.client.cookies
        async with newer.visitor() as there, stranger.visitor() as elsewhere:
            there.client.cookies = elsewhere.client.cookies = cookies
            assert (await elsewhere.post("/consent", fields(page))).status == 403
            assert "code" in (await allow(there, page)).answer


async def test_a_repeated_flow_or_choice_is_refused() -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        for name, value in (("flow", "x"), ("choice", "deny")):
            assert (await browser.post("/consent", [*fields(page), (name, value)])).status == 400
        assert "code" in (await allow(browser, page)).answer


async def test_an_oversized_form_is_refused() -> None:
    async with deploy().visitor() as browser:
        page = await browser.post("/consent", [("flow", "x" * 70_000)])

        assert page.status == 413


async def test_who_is_somebody_else_signs_out_and_decides_anew(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await signed_in(edge, "alice")
    asking = Asking()
    page = await browser.press(await consent_page(browser, asking), "Not you?")

    assert "You will sign in next." in page.text
    back = await allow(browser, page, user="bob")
    await redeem(browser.client, asking, back.answer["code"])
    apps = await browser.visit("/apps")
    assert "Signed in as bob." in apps.text
    assert "An app" in apps.text


async def test_who_was_not_named_on_the_page_does_not_decide_by_it(everywhere: Deploy) -> None:
    edge = everywhere()
    browser = await signed_in(edge, "alice")
    page = await consent_page(browser, Asking())
    await browser.press(await browser.visit("/apps"), "Sign out here")
    await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "bob"})
    again = await browser.press(page, "Allow")

    assert (again.status, again.left) == (200, "")
    assert "Who is signed in has changed" in again.text
    assert "bob Not you?" in again.text
    assert "code" in (await browser.press(again, "Allow")).answer


async def test_consent_is_given_before_the_sign_in() -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        next_page = await browser.press(page, "Allow")

        assert page.heading == "Allow An app to use this server?"
        assert next_page.heading == "Sign in"
        assert urlsplit(next_page.url).path == "/sign-in"


async def test_every_decision_is_logged_without_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mcp_edge.audit")
    edge = deploy()
    async with edge.visitor() as browser:
        page = await consent_page(browser, Asking())
        back = await allow(browser, page)
        page = await consent_page(browser, Asking(state="n"))
        await browser.press(page, "Deny")
        await browser.press(page, "Allow")
        await browser.post("/consent", fields(page), origin="https://evil.example", site="cross-site")
        await consent_page(browser, Asking(client_id="nobody"))
        lines = [record.getMessage() for record in caplog.records if record.name == "mcp_edge.audit"]

    starts = [" ".join(line.split()[:2]) for line in lines]
    assert starts == [
        "what=sign-in outcome=allowed",
        "what=consent outcome=allowed",
        "what=authorize outcome=refused",
        "what=consent outcome=refused",
        "what=consent outcome=refused",
        "what=authorize outcome=refused",
    ]
    text = "\n".join(lines)
    secrets = [back.answer["code"], browser.cookie("__Host-mcp-browser"), browser.cookie("__Host-mcp-session"), "alice"]
    assert [secret for secret in secrets if secret in text] == []
