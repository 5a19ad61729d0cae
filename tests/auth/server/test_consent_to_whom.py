"""What the consent page says of an app for which nobody vouches, and that app and user are the same at its answer."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Literal

import pytest

from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.auth.server.model import Client
from mcp_edge.protocol.request import Request
from tests.auth.server.deployment import (
    CLIENT,
    LOOPBACK,
    REDIRECT,
    Asking,
    Deploy,
    allow,
    consent_page,
    deploy,
    redeem,
    sign_in,
)
from tests.auth.server.upstream import GitHub

pytestmark = pytest.mark.anyio

APP = Client("app", "An app", (REDIRECT, LOOPBACK), "dcr")
ALICE = {"value": "alice"}
WARNING = "Any program on this computer could have asked for this. Go on only if you have just added this server"


def known_as(patch: pytest.MonkeyPatch, client: Client | None) -> None:
    """Let this be whom every client is."""

    async def find(clients: Clients, client_id: str, request: Request | None = None) -> Client | None:
        del clients, request
        return client and replace(client, id=client_id)

    patch.setattr(Clients, "find", find)
    patch.setattr(Clients, "find_or_fetch", find)


@pytest.mark.parametrize(
    ("kind", "client_id", "told"),
    [
        ("static", "app", "Admitted by the operator of this server: An app"),
        ("dcr", "app", "It named itself, and nobody has verified that name: An app"),
        ("cimd", "https://app.example/a/client.json", "Known by its own site, app.example/a/client.json: An app"),
    ],
)
async def test_what_a_name_is_worth_is_said_before_the_name(
    kind: Literal["static", "dcr", "cimd"], client_id: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, replace(APP, kind=kind))
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(client_id=client_id))

        assert page.text.split("\n")[3] == told
        assert page.response.text.count("<q>An app</q>") == 2


async def test_a_name_cannot_end_its_own_quotation(monkeypatch: pytest.MonkeyPatch) -> None:
    name = 'Claude\u201d, an app that \u201cwe\u201d have "verified" \u00ab\u00bb'
    known_as(monkeypatch, replace(APP, name=name))
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())

        shown = escape("Claude', an app that 'we' have 'verified' ''")
        assert page.response.text.count(f"<q>{shown}</q>") == 2


@pytest.mark.parametrize(
    ("kind", "uri", "linked"),
    [
        ("dcr", "https://app.example/about", True),
        ("dcr", "https://claude.ai/", False),
        ("dcr", "https://app.example.evil.example/", False),
        ("dcr", "", False),
        ("cimd", "https://site.example/", True),
        ("cimd", "https://app.example/", True),
        ("cimd", "https://claude.ai/", False),
        ("static", "https://anywhere.example/", True),
    ],
)
async def test_a_strangers_link_leads_to_a_site_of_his_own_or_nowhere(
    kind: Literal["static", "dcr", "cimd"], uri: str, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, replace(APP, kind=kind, uri=uri))
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(client_id="https://site.example/client.json"))
        links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]

        assert links == [*([uri] if linked else []), "/apps"]


CLAUDE, EVIL = "https://claude.ai/api/mcp/auth_callback", "https://evil.example/cb"


@pytest.mark.parametrize("kind", ["dcr", "cimd"])
@pytest.mark.parametrize("name", ["", "\u3164", "An app at claude.ai", "AN APP AT CLAUDE.AI", "an unnamed app"])
@pytest.mark.parametrize("uris", [(CLAUDE, EVIL), (EVIL, CLAUDE)], ids=["claude first", "evil first"])
async def test_who_has_no_name_is_called_after_where_this_answer_goes(
    kind: Literal["dcr", "cimd"], name: str, uris: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, replace(APP, kind=kind, name=name, redirect_uris=uris, uri="https://claude.ai/"))
    async with deploy().visitor() as browser:
        client_id = "https://evil.example/client.json"
        for uri, host, links in ((EVIL, "evil.example", []), (CLAUDE, "claude.ai", ["https://claude.ai/"])):
            asking = Asking(client_id=client_id, redirect_uri=uri)
            page = await consent_page(browser, asking)
            assert page.heading == f"Allow An app at {host} to use this server?"
            assert [a["href"] for tag, a in page.tags if tag == "a"] == [*links, "/apps"]
            assert ("gave no name of its own" in page.text) is (kind == "dcr" and name != f"An app at {host}")
            signing_in = await browser.press(page, "Allow")
            assert f"To go on to An app at {host}." in signing_in.text
            await redeem(browser.client, asking, (await sign_in(browser, signing_in)).answer["code"])
            apps = await browser.visit("/apps")
            assert f"An app at {host}\n" in apps.text
            await browser.press(apps, "Revoke")
            await browser.press(await browser.visit("/apps"), "Sign out here")


@pytest.mark.parametrize("redirect_uri", ["http://127.0.0.1:8123/cb", "http://localhost:1/cb"])
async def test_who_has_no_name_and_no_site_is_unnamed(redirect_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uris = (CLAUDE, redirect_uri)
    for uri in ("https://claude.ai/", "http://localhost:1/", "http://127.0.0.1/"):
        known_as(monkeypatch, replace(APP, name="", redirect_uris=uris, uri=uri))
        async with deploy().visitor() as browser:
            page = await consent_page(browser, Asking(redirect_uri=redirect_uri))
            assert page.heading == "Allow An unnamed app to use this server?"
            assert [a["href"] for tag, a in page.tags if tag == "a"] == ["/apps"]


async def test_who_is_on_the_list_of_apps_is_known_by_where_its_answers_went(monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch, replace(APP, name="Claude", redirect_uris=(CLAUDE, EVIL)))
    async with deploy(clients=({**CLIENT, "redirect_uris": [CLAUDE, EVIL]},)).visitor() as browser:
        for uri in (EVIL, CLAUDE, EVIL):
            asking = Asking(redirect_uri=uri)
            back = await allow(browser, await consent_page(browser, asking))
            await redeem(browser.client, asking, back.answer["code"])
        page = await browser.visit("/apps")
        assert "registered here, returns to claude.ai, evil.example. Connected" in page.text
        assert "<q>Claude</q>" in page.response.text


@pytest.mark.parametrize(
    ("kind", "redirect_uri", "warned"),
    [
        ("dcr", "http://127.0.0.1:8123/callback", True),
        ("cimd", "http://127.0.0.1:8123/callback", True),
        ("dcr", REDIRECT, False),
        ("cimd", REDIRECT, False),
        ("static", "http://127.0.0.1:8123/callback", False),
    ],
)
async def test_an_app_on_this_computer_that_anybody_could_be_comes_with_a_warning(
    kind: Literal["static", "dcr", "cimd"], redirect_uri: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, replace(APP, kind=kind))
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(redirect_uri=redirect_uri))

        assert (WARNING in page.text) is warned
        assert "code" in (await allow(browser, page)).answer


@pytest.mark.parametrize("now", [None, replace(APP, redirect_uris=(LOOPBACK,))], ids=["client", "address"])
async def test_what_is_withdrawn_while_the_user_decides_gets_no_code(
    now: Client | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = deploy()
    known_as(monkeypatch, APP)
    async with edge.visitor() as fresh:
        here = edge.visitor()
        await here.press(await here.visit("/sign-in"), "Sign in", type_in=ALICE)
        shown, waiting = await consent_page(here, Asking()), await consent_page(fresh, Asking())
        waiting = await fresh.press(waiting, "Allow")
        known_as(monkeypatch, now)
        answers = [await here.press(shown, "Allow"), await fresh.press(waiting, "Sign in", type_in=ALICE)]
        assert [(page.status, page.left) for page in answers] == [(400, "")] * 2
        said = "has withdrawn the address" if now else "is no longer known here"
        assert [said in page.text for page in answers] == [True] * 2

        known_as(monkeypatch, APP)
        assert "code" in (await here.press(shown, "Allow")).answer
        assert "code" in (await here.press(await consent_page(here, Asking()), "Allow")).answer


@pytest.mark.parametrize(("login", "number", "code"), [("alice", 1, True), ("bob", 2, False)])
async def test_what_one_user_was_shown_is_granted_by_no_other(
    everywhere: Deploy, login: str, number: int, code: bool
) -> None:
    github = GitHub(login="alice", number=1)
    edge = github.deploy(everywhere, upstream_account="identity")
    async with edge.visitor() as browser:
        await github.back(browser, await browser.press(await consent_page(browser, Asking()), "Allow"))
        await browser.press(await browser.visit("/apps"), "Disconnect")
        page = await consent_page(browser, Asking())
        assert "alice Not you?" in page.text
        away = await browser.press(page, "Allow", untick=("notes:write",))
        github.login, github.number = login, number
        back = await github.back(browser, away)

        assert bool(back.left) is code
        if not code:
            assert "Who is signed in has changed" in back.text
            assert "bob Not you?" in back.text
            back = await browser.press(back, "Allow")
        assert "code" in back.answer
