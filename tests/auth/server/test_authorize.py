"""GET /authorize: what is refused on a page, what the client is told, and that nothing is stored."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from mcp_edge.auth.scopes import Scope
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.auth.server.model import Client
from tests.auth.server.deployment import (
    CLIENT,
    LOOPBACK,
    REDIRECT,
    Asking,
    Deploy,
    allow,
    authorize,
    consent_page,
    deploy,
    redeem,
)
from tests.support.visitor import Page

pytestmark = pytest.mark.anyio

ISSUER = "https://mcp.example"
PHISH = "https://phish.example/cb"


def error_of(page: Page) -> tuple[str, str, str]:
    """The error, state and issuer that the client is told; the description is for people."""
    answer = page.answer
    assert set(answer) == {"error", "error_description", "state", "iss"}, answer
    assert page.left.startswith(REDIRECT + "?")
    return answer["error"], answer["state"], answer["iss"]


async def test_a_user_who_allows_and_signs_in_gives_the_client_a_code() -> None:
    async with deploy().visitor() as browser:
        asking = Asking()
        page = await consent_page(browser, asking)
        back = await allow(browser, page)

        assert page.status == 200
        assert back.response.status_code == 303
        assert urlsplit(back.left)._replace(query="").geturl() == REDIRECT
        assert set(back.answer) == {"code", "state", "iss"}
        assert (back.answer["state"], back.answer["iss"]) == ("a state", ISSUER)
        assert (await redeem(browser.client, asking, back.answer["code"]))["token_type"] == "Bearer"


async def test_asking_stores_nothing_but_the_count_of_attempts() -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        await consent_page(browser, Asking())
        await browser.visit("/authorize", **Asking(client_id="nobody").query)

        kept = [entry.key for entry in await edge.platform.atomics.read("")]
        assert [key for key in kept if not key.startswith("limit/")] == []
        assert [key for key in await edge.platform.records.list("") if not key.startswith("catalogue/")] == []


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://evil.example/callback",
        "https://app.example/callback/",
        "https://app.example/callback?x=1",
        "https://app.example/callback#x",
        "https://app.example:444/callback",
        "https://app.example.evil.example/callback",
        "https://app.example@evil.example/callback",
        "https://user@app.example/callback",
        "https://app.example/callback/../other",
        "https://app.example/%63allback",
        "HTTPS://APP.EXAMPLE/callback",
        "http://app.example/callback",
        "//app.example/callback",
        "/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example\\@evil.example/callback",
        "https://app.example/callback\r\nset-cookie: a=b",
        "https://app.example/callback\t",
        " https://app.example/callback",
        "http://127.0.0.1:1234/other",
        "http://127.0.0.2:1234/callback",
        "http://localhost.evil.example/callback",
        "https://127.0.0.1:1234/callback",
    ],
)
async def test_an_unregistered_redirect_is_told_to_the_user_alone(redirect_uri: str) -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(redirect_uri=redirect_uri))

        assert (page.status, page.left) == (400, "")
        assert "location" not in page.response.headers
        assert page.heading == "That did not work"


@pytest.mark.parametrize(
    "redirect_uri", [REDIRECT, "http://127.0.0.1:1234/callback", "http://127.0.0.1:65535/callback"]
)
async def test_a_registered_redirect_is_used_whatever_its_port_on_loopback(redirect_uri: str) -> None:
    async with deploy().visitor() as browser:
        back = await allow(browser, await consent_page(browser, Asking(redirect_uri=redirect_uri)))

        assert back.left.startswith(f"{redirect_uri}?code=")


async def test_an_unknown_client_is_told_to_the_user_alone() -> None:
    async with deploy().visitor() as browser:
        unknown = await consent_page(browser, Asking(client_id="nobody"))
        missing = await consent_page(browser, Asking(client_id=""))

        assert [(page.status, page.left) for page in (unknown, missing)] == [(400, ""), (400, "")]


async def test_a_client_with_one_redirect_need_not_name_it() -> None:
    one = {**CLIENT, "client_id": "one", "redirect_uris": [REDIRECT]}
    async with deploy(clients=(CLIENT, one)).visitor() as browser:
        back = await allow(browser, await consent_page(browser, Asking(client_id="one", redirect_uri="")))
        several = await consent_page(browser, Asking(redirect_uri=""))

        assert back.left.startswith(f"{REDIRECT}?code=")
        assert (several.status, several.left) == (400, "")


async def test_a_redirect_keeps_its_own_query() -> None:
    uri = "https://app.example/callback?tenant=a%20b&x="
    async with deploy(clients=({**CLIENT, "redirect_uris": [uri]},)).visitor() as browser:
        back = await allow(browser, await consent_page(browser, Asking(redirect_uri=uri)))
        denied = await browser.press(await consent_page(browser, Asking(redirect_uri=uri)), "Deny")

        for page in (back, denied):
            assert page.left.startswith(uri + "&")
            assert parse_qs(urlsplit(page.left).query)["iss"] == [ISSUER]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "a" * 44}, "invalid_request"),
        ({"code_challenge": "a" * 42 + "="}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"resource": "https://other.example"}, "invalid_target"),
        ({"resource": "https://mcp.example/other"}, "invalid_target"),
        ({"resource": "https://mcp.example.evil.example/mcp"}, "invalid_target"),
        ({"resource": "https://mcp.example/mcp#x"}, "invalid_target"),
        ({"resource": "https://mcp.example/MCP"}, "invalid_target"),
        ({"resource": "https://mcp.example/mcp//"}, "invalid_target"),
        ({"resource": "https://mcp.example@evil.example/mcp"}, "invalid_target"),
        ({"resource": "mcp.example"}, "invalid_target"),
        ({"resource": "mcp"}, "invalid_target"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "notes:read admin"}, "invalid_scope"),
        ({"scope": "notes:read\xa0notes:write"}, "invalid_scope"),
        ({"scope": "notes:read\tnotes:write"}, "invalid_scope"),
        ({"scope": "notes:read\u2028"}, "invalid_scope"),
        ({"scope": "<script>alert(1)</script>"}, "invalid_scope"),
        ({"prompt": "none"}, "interaction_required"),
    ],
)
async def test_a_wrong_request_is_told_to_the_client(changed: dict[str, str], error: str) -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(more=changed))

        assert error_of(page) == (error, "a state", ISSUER)


async def test_a_letter_that_only_looks_small_names_no_resource_of_ours() -> None:
    async with deploy(public_url="https://kiosk.example").visitor() as browser:
        for resource, error in (
            ("https://\u212aiosk.example/mcp", "invalid_target"),
            ("https://KIOSK.example/mcp", ""),
        ):
            page = await consent_page(browser, Asking(more={"resource": resource}))
            assert (page.answer["error"] if page.left else "") == error


@pytest.mark.parametrize(
    ("resource", "meant"),
    [
        ("", ISSUER),
        (ISSUER, ISSUER),
        (f"{ISSUER}/", ISSUER),
        (f"{ISSUER}/mcp", f"{ISSUER}/mcp"),
        (f"{ISSUER}/sse", f"{ISSUER}/sse"),
        (f"{ISSUER}/mcp/", f"{ISSUER}/mcp"),
        ("HTTPS://MCP.Example", ISSUER),
        ("Https://MCP.EXAMPLE/mcp", f"{ISSUER}/mcp"),
    ],
)
async def test_a_token_can_be_for_the_server_or_one_endpoint(resource: str, meant: str) -> None:
    more = {"resource": resource} if resource else {}
    async with deploy().visitor() as browser:
        asking = Asking(more=more)
        page = await consent_page(browser, asking)
        assert f"\nServer\n{meant}\n" in page.text

        code = (await allow(browser, page)).answer["code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": "app", **more}
        form |= {"redirect_uri": REDIRECT, "code_verifier": asking.verifier}
        other = await browser.client.post("/token", data=form | {"resource": f"{ISSUER}/MCP"})
        assert (other.status_code, other.json()["error"]) == (400, "invalid_target")
        assert (await browser.client.post("/token", data=form)).status_code == 200


async def test_several_resources_are_refused_and_the_same_one_twice_is_not() -> None:
    query = urlencode(Asking().query)
    async with deploy().visitor() as browser:
        two = await browser.visit(f"/authorize?{query}&resource={ISSUER}/mcp&resource={ISSUER}/sse")
        twice = await browser.visit(f"/authorize?{query}&resource={ISSUER}/mcp&resource={ISSUER}/mcp")

        assert error_of(two)[0] == "invalid_target"
        assert twice.status == 200


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_repeated_destination_is_told_to_the_user_alone(name: str) -> None:
    query = Asking().query
    async with deploy().visitor() as browser:
        page = await browser.visit(f"/authorize?{urlencode(query)}&{urlencode({name: query[name]})}")

        assert (page.status, page.left) == (400, "")


@pytest.mark.parametrize(
    "name", ["response_type", "code_challenge", "code_challenge_method", "scope", "prompt", "response_mode"]
)
async def test_a_repeated_parameter_is_told_to_the_client(name: str) -> None:
    query = Asking().query | {name: "code"}
    async with deploy().visitor() as browser:
        page = await browser.visit(f"/authorize?{urlencode(query)}&{name}=x")

        assert error_of(page) == ("invalid_request", "a state", ISSUER)


async def test_a_repeated_state_is_not_sent_back() -> None:
    async with deploy().visitor() as browser:
        page = await browser.visit(f"/authorize?{urlencode(Asking().query)}&state=another")

        assert {name: page.answer[name] for name in ("error", "iss")} == {"error": "invalid_request", "iss": ISSUER}
        assert "state" not in page.answer


async def test_a_request_without_state_is_answered_without_one() -> None:
    async with deploy().visitor() as browser:
        back = await allow(browser, await consent_page(browser, Asking(state="")))

        assert set(back.answer) == {"code", "iss"}


async def test_without_scope_the_baseline_is_asked_for() -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        more = await consent_page(browser, Asking(more={"scope": "notes:delete"}))

        assert [value for form in page.forms for name, value in form.fields if name == "scope"] == [
            "notes:read",
            "notes:write",
        ]
        assert "It may delete notes." in more.text


async def test_where_nothing_is_granted_unasked_a_scope_must_be_named() -> None:
    only = (Scope("danger", "do anything", on_demand=True),)
    async with deploy(scopes=only).visitor() as browser:
        unnamed = await consent_page(browser, Asking())
        named = await consent_page(browser, Asking(more={"scope": "danger"}))

        assert error_of(unnamed)[0] == "invalid_scope"
        assert named.status == 200


async def test_a_client_that_is_not_for_codes_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(clients: Clients, client_id: str) -> Client:
        del clients
        return Client(client_id, "A machine", (REDIRECT,), "static", grant_types=("client_credentials",))

    monkeypatch.setattr(Clients, "find", find)
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(client_id="machine"))

        assert error_of(page)[0] == "unauthorized_client"


@pytest.mark.parametrize("query", ["%ff", "a=%ff", "&".join(f"a{i}=1" for i in range(200)), "client_id=é"])
async def test_a_query_that_cannot_be_read_is_a_page(query: str) -> None:
    async with deploy().visitor() as browser:
        page = await browser.visit(f"/authorize?{query}")

        assert (page.status, page.left) == (400, "")


async def test_an_oversized_request_is_refused() -> None:
    async with deploy().visitor() as browser:
        large = await consent_page(browser, Asking(state="s" * 9000))
        fitting = await consent_page(browser, Asking(state="s" * 7000))

        assert (large.status, fitting.status) == (400, 200)


async def test_line_breaks_in_state_stay_inside_the_location() -> None:
    state = "a\r\nset-cookie: stolen=1\r\n\r\n<script>"
    async with deploy().visitor() as browser:
        back = await allow(browser, await consent_page(browser, Asking(state=state)))
        wrong = await consent_page(browser, Asking(state=state, more={"scope": "x\r\nset-cookie: stolen=1"}))

        assert back.answer["state"] == wrong.answer["state"] == state
        for page in (back, wrong):
            assert not page.response.headers["location"].count("\n")
            assert "stolen" not in page.response.headers.get("set-cookie", "")


async def test_only_get_is_answered() -> None:
    async with deploy().visitor() as browser:
        posted = await browser.post("/authorize", list(Asking().query.items()))

        assert (posted.status, posted.response.headers["allow"]) == (405, "GET")


async def test_the_whole_walk_on_loopback_http_needs_no_secure_cookie() -> None:
    edge = deploy(public_url="http://localhost:8000")
    async with edge.visitor() as browser:
        assert (await authorize(browser))["scope"] == "notes:read notes:write"
        assert {cookie.name: cookie.secure for cookie in browser.client.cookies.jar} == {
            "mcp-browser-8000": False,
            "mcp-session-8000": False,
        }


def strangers(patch: pytest.MonkeyPatch, kind: str, *redirect_uris: str) -> None:
    """Let every client be one of this kind and of these addresses."""

    async def find(clients: Clients, client_id: str) -> Client:
        del clients
        return Client(client_id, "An app", redirect_uris or (PHISH, REDIRECT, LOOPBACK), cast("Any", kind))

    patch.setattr(Clients, "find", find)


@pytest.mark.parametrize("kind", ["dcr", "cimd"])
@pytest.mark.parametrize("more", [{"scope": "admin"}, {"prompt": "none"}, {"response_type": "token"}])
async def test_a_stranger_cannot_have_a_link_to_us_lead_to_his_site(
    kind: str, more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers(monkeypatch, kind)
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(redirect_uri=PHISH, more=more))
        (way,) = [attributes for tag, attributes in page.tags if tag == "a"]

        assert (page.status, page.left, "location" in page.response.headers) == (400, "", False)
        assert "Return to phish.example" in page.text
        assert (way["rel"], (way["href"] or "").partition("?")[0]) == ("noopener noreferrer nofollow", PHISH)
        told = {name: value for name, (value,) in parse_qs(urlsplit(way["href"] or "").query).items()}
        assert {**told, "error": "", "error_description": ""} == {
            "error": "", "error_description": "", "state": "a state", "iss": ISSUER}  # fmt: skip
        assert told["error"] in ("invalid_scope", "interaction_required", "unsupported_response_type")


@pytest.mark.parametrize(
    ("kind", "redirect_uri"), [("static", PHISH), ("dcr", LOOPBACK), ("cimd", LOOPBACK)]
)  # fmt: skip
async def test_whom_the_operator_admits_and_who_is_on_this_computer_is_told_at_once(
    kind: str, redirect_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers(monkeypatch, kind)
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(redirect_uri=redirect_uri, more={"scope": "admin"}))

        assert (page.left.partition("?")[0], page.answer["error"]) == (redirect_uri, "invalid_scope")


async def test_whom_the_user_has_let_in_is_told_at_once_at_that_address_until_it_is_taken_back(
    everywhere: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers(monkeypatch, "dcr")
    edge, wrong = everywhere(), {"scope": "admin"}
    async with edge.visitor() as browser, edge.visitor() as others:
        await authorize(browser, Asking(client_id="one"))
        await authorize(others, Asking(client_id="two"), user="bob")

        async def at_once(client_id: str, redirect_uri: str) -> bool:
            asking = Asking(client_id=client_id, redirect_uri=redirect_uri, more=wrong)
            return bool((await consent_page(browser, asking)).left)

        assert [await at_once("one", REDIRECT), await at_once("one", PHISH)] == [True, False]
        assert await at_once("two", REDIRECT) is False
        await browser.press(await browser.visit("/apps"), "Revoke")
        assert await at_once("one", REDIRECT) is False


async def test_a_stranger_whom_the_user_denies_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    strangers(monkeypatch, "dcr")
    async with deploy().visitor() as browser:
        denied = await browser.press(await consent_page(browser, Asking(redirect_uri=PHISH)), "Deny")

        assert (denied.left.partition("?")[0], denied.answer["error"]) == (PHISH, "access_denied")


@pytest.mark.parametrize(
    ("client_id", "logged"),
    [("nobody", "client=nobody"), ("n" * 5000, f"client={'n' * 199}… "), ("a\nb", "client='a\\nb'")],
)
async def test_a_refusal_is_logged_with_the_client_that_was_asked_for(
    client_id: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with deploy().visitor() as browser:
        await consent_page(browser, Asking(client_id=client_id))
        await consent_page(browser, Asking(redirect_uri="https://evil.example/"))

    lines = [record.getMessage() for record in caplog.records if record.name == "mcp_edge.audit"]
    assert [line.startswith("what=authorize outcome=refused client=") for line in lines] == [True, True]
    assert logged in lines[0]
    assert "client=app " in lines[1]


async def test_no_answer_is_sent_to_this_server_itself() -> None:
    """A page elsewhere could make it one of our own that sends the browser through another app's consent."""
    own = "https://mcp.example/authorize?client_id=other"
    edge = deploy(clients=({**CLIENT, "redirect_uris": [own]},))
    async with edge.visitor() as browser:
        page = await browser.visit("/authorize", **Asking(redirect_uri=own).query)

    assert (page.status, page.left) == (400, "")
    assert "to this server itself" in page.text


async def test_a_client_of_the_settings_may_ask_for_no_more_than_they_say() -> None:
    limited = {**CLIENT, "client_id": "limited", "scope": "notes:read"}
    implied = {**CLIENT, "client_id": "implied", "scope": "notes:write"}
    edge = deploy(clients=(CLIENT, limited, implied))
    async with edge.visitor() as visitor:
        got = {
            client_id: (await authorize(visitor, Asking(client_id=client_id)))["scope"]
            for client_id in ("limited", "implied", "app")
        }
        refused = await consent_page(visitor, Asking(client_id="limited", more={"scope": "notes:write"}))
        narrow = await authorize(visitor, Asking(client_id="implied", more={"scope": "notes:read"}))

    assert got == {"limited": "notes:read", "implied": "notes:read notes:write", "app": "notes:read notes:write"}
    assert refused.answer["error"] == "invalid_scope"
    assert narrow["scope"] == "notes:read"


SAYINGS = [
    "x.\u00a0Your\u00a0account\u00a0is\u00a0locked:\u00a0call\u00a0+1\u00a0800\u202e",
    "Your-account-is-locked:-call-+1-800-555",
    "locked\u3164\u202e",
    'locked"quoted',
    "notes:read\u200b locked",
    "locked" * 1000,
]


@pytest.mark.parametrize("scope", SAYINGS)
async def test_the_server_says_no_words_of_a_link_to_its_user_or_to_the_app(
    scope: str, caplog: pytest.LogCaptureFixture
) -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        page = await consent_page(browser, Asking(more={"scope": scope}))
        app = await consent_page(browser, Asking(redirect_uri=LOOPBACK, more={"scope": scope}))
    said = f"{page.text} {page.left} {app.text} {app.left}"
    assert ("invalid_scope" in said, "locked" in said) == (True, False)
    assert all(text.isprintable() for text in page.text.split("\n"))
    assert [record for record in caplog.records if not record.getMessage().isprintable()] == []


async def test_an_unknown_scope_is_answered_with_those_that_there_are(caplog: pytest.LogCaptureFixture) -> None:
    async with deploy().visitor() as browser:
        page = await consent_page(browser, Asking(redirect_uri=LOOPBACK, more={"scope": "notes:reed"}))
    assert page.answer["error_description"] == "The scopes here are notes:read, notes:write, notes:delete."
    assert "there is no scope notes:reed" in caplog.text
