"""What the keyboard sends to a page that has just come to the front gives nothing away: forms and their times."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from mcp_edge.pages import again, connect
from mcp_edge.pages.layout import document
from tests.auth.server.connecting import TwoGitHubs, leave
from tests.auth.server.deployment import Asking, Deploy, Deployment, allow, authorize, consent_page, deploy
from tests.auth.server.test_pages import every_page
from tests.support.visitor import Form, Page, Visitor

pytestmark = pytest.mark.anyio

TOO_SOON_S = 0.99
HARMLESS = {"/sign-in", "/sign-out"}
"""Forms without such a button: Enter in the one's only field is how one signs in, and the other has no field."""


class Defaults(HTMLParser):
    """The action of each form, and the value of the button that Enter presses in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append([given.get("action") or ""])
        elif tag == "button" and self.found and len(self.found[-1]) == 1:
            assert not {"disabled", "hidden", "type", "form"} & given.keys()
            self.found[-1].append(given.get("value") or "")


def checked(text: str) -> None:
    """Nothing for a fragment to lead to, no key of its own, and Enter presses nothing that matters."""
    for tag, attrs in Page("", _Answer(text)).tags:  # type: ignore[arg-type] # all that it reads is `text`
        assert not {"id", "accesskey"} & attrs.keys(), (tag, attrs)
        assert tag != "a" or "name" not in attrs
        assert "autofocus" not in attrs or attrs["type"] in ("text", "password"), (tag, attrs)
        assert int(attrs.get("tabindex") or 0) <= 0, (tag, attrs)
    for action, default in Defaults(text).found:
        assert action in HARMLESS or default in (again.AGAIN, "switch"), (action, default)


class _Answer:
    def __init__(self, text: str) -> None:
        self.text = text


async def test_on_every_page_nothing_can_be_focused_from_afar_and_enter_presses_nothing_that_matters() -> None:
    for page in (await every_page(deploy())).values():
        checked(page.response.text)
    edge = deploy()
    async with edge.visitor() as browser:
        await authorize(browser)
        checked((await browser.visit("/apps")).response.text)
        wrong = await consent_page(browser, Asking(more={"scope": "x", "prompt": "consent"}))
        assert wrong.left or not wrong.forms
    names = {"provider": "GitHub", "server": "https://mcp.example", "user_name": "ada", "action": "/x"}
    shown = ("shown", "0")
    for each in (
        connect.page(**names, apps="/apps", replaces=False, shown=shown),
        connect.arrived(**names, account="octocat", handle="0", shown=shown),
        connect.left(provider="GitHub", account="octocat"),
        connect.done(provider="GitHub", account="octocat"),
    ):
        checked(document(each, "").decode())


def form_of(page: Page, button: str) -> Form:
    """The form of a button."""
    return page.button(button)[0]


async def pressed(edge: Deployment, browser: Visitor, page: Page, button: str, *, after_s: float) -> Page:
    """Press it so long after now."""
    edge.clock.advance(after_s)
    browser.looks, looks = None, browser.looks
    answer = await browser.press(page, button)
    browser.looks = looks
    return answer


async def signed_in(edge: Deployment) -> Visitor:
    """A browser in which alice is signed in."""
    browser = edge.visitor()
    await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
    return browser


@pytest.mark.parametrize("button", ["Allow", "Allow reading only", "Not you?"])
async def test_an_answer_within_a_second_is_none_and_the_same_one_later_is(everywhere: Deploy, button: str) -> None:
    edge = everywhere()
    async with await signed_in(edge) as browser:
        page = await consent_page(browser, Asking())
        soon = await pressed(edge, browser, page, button, after_s=TOO_SOON_S)
        assert (soon.left, soon.status, again.NOTHING_YET in soon.text) == ("", 200, True)
        assert form_of(soon, "Allow").value("flow") != form_of(page, "Allow").value("flow")
        sooner = await pressed(edge, browser, soon, button, after_s=TOO_SOON_S)
        assert (sooner.left, again.NOTHING_YET in sooner.text) == ("", True)
        late = await pressed(edge, browser, sooner, button, after_s=1)
        assert ("code" in late.answer) if button != "Not you?" else ("Not you?" not in late.text)


async def test_who_is_not_signed_in_is_not_sent_to_sign_in_within_a_second_either() -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        page = await consent_page(browser, Asking())
        soon = await pressed(edge, browser, page, "Allow", after_s=0)
        assert again.NOTHING_YET in soon.text
        assert "code" in (await allow(browser, soon)).answer


async def test_a_refusal_needs_no_second() -> None:
    edge = deploy()
    async with await signed_in(edge) as browser:
        denied = await pressed(edge, browser, await consent_page(browser, Asking()), "Deny", after_s=0)
        assert denied.answer["error"] == "access_denied"


async def test_the_page_again_has_what_was_ticked_and_uses_nothing_up() -> None:
    edge = deploy()
    async with await signed_in(edge) as browser:
        page = await consent_page(browser, Asking())
        form = form_of(page, "Allow")
        flow = ("flow", form.value("flow"))
        before = {e.key for e in await edge.platform.atomics.read("flow/", limit=100)}
        shown = await browser.post("/consent", [flow, ("scope", "notes:read"), ("choice", again.AGAIN)])
        assert {e.key for e in await edge.platform.atomics.read("flow/", limit=100)} == before
        assert [value for name, value in form_of(shown, "Allow").fields if name == "scope"] == ["notes:read"]
        boxes = [a["value"] for tag, a in shown.tags if tag == "input" and a.get("type") == "checkbox"]
        assert boxes == ["notes:read", "notes:write"]
        assert "code" in (await browser.press(shown, "Allow")).answer


async def test_the_time_of_a_page_is_sealed_into_it() -> None:
    edge = deploy()
    async with await signed_in(edge) as browser:
        browser.looks = None
        form = form_of(await consent_page(browser, Asking()), "Allow")
        told = [*form.fields, ("choice", "allow"), ("shown", "0"), ("shown_at", "0")]
        assert (await browser.post("/consent", told)).left == ""


async def test_an_instance_whose_clock_is_behind_shows_a_page_that_all_take(everywhere: Deploy) -> None:
    edge = everywhere()
    async with await signed_in(edge) as browser:
        page = await consent_page(browser, Asking())
        edge.clock.advance(-30)
        shown = await pressed(edge, browser, page, "Allow", after_s=5)
        assert again.NOTHING_YET in shown.text
        assert "code" in (await pressed(edge, browser, shown, "Allow", after_s=1)).answer


@pytest.mark.parametrize("button", ["Revoke", "Sign out everywhere"])
async def test_nothing_is_taken_back_within_a_second(everywhere: Deploy, button: str) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        await authorize(browser)
        page = await browser.visit("/apps")
        soon = await pressed(edge, browser, page, button, after_s=TOO_SOON_S)
        assert (soon.heading, again.NOTHING_YET in soon.text, "An app" in soon.text) == ("Connected apps", True, True)
        form, (_, value, _) = soon.button(button)
        fields = [(name, given) for name, given in form.fields if name != "shown"]
        for shown in ("nan", "", "1e999", "x"):
            told = await browser.post("/apps", [*fields, ("shown", shown), ("do", value)])
            assert again.NOTHING_YET in told.text, shown
        late = await pressed(edge, browser, soon, button, after_s=1)
        assert "An app" not in late.text


async def test_no_account_is_connected_within_a_second() -> None:
    both = TwoGitHubs()
    edge = both.deploy(deploy)
    async with edge.visitor() as browser:
        await both.sign_in(browser)
        away = await leave(edge, browser)
        page = await both.there.back(browser, away)
        soon = await pressed(edge, browser, page, "Connect", after_s=TOO_SOON_S)
        assert (soon.heading, again.NOTHING_YET in soon.text) == (page.heading, True)
        once_more = await browser.post("/oauth/connected", [*form_of(soon, "Connect").fields, ("choice", again.AGAIN)])
        assert once_more.heading == page.heading
        assert (await browser.press(once_more, "Connect")).heading == "Connected"


async def test_whom_another_site_has_sent_types_into_no_field_of_ours() -> None:
    async with deploy().visitor() as browser:
        focused = {}
        for site in ("none", "same-origin", "cross-site", "same-site"):
            page = await browser.visit("/apps", site=site)
            focused[site] = any("autofocus" in attrs for _, attrs in page.tags)
        assert focused == {"none": True, "same-origin": True, "cross-site": False, "same-site": False}
        bare = await browser.client.get("/sign-in")
        assert "autofocus" not in bare.text
