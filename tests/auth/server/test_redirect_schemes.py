"""Private-use URI schemes of native apps (RFC 8252 §7.1): those that the operator admits, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mcp_edge.auth.server.attempts import Attempts
from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.errors import ConfigurationError
from mcp_edge.settings import Settings
from tests.auth.server.deployment import Asking, allow, authorize, consent_page, deploy, redeem
from tests.auth.server.test_client_documents import GOOD, Strangers
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"
SCHEMES = ("cursor", "com.example.app")
APP: dict[str, Any] = {"client_name": "Cursor", "redirect_uris": [CURSOR]}


@pytest.mark.parametrize("uri", [CURSOR, "cursor:///cb", "cursor:/cb", "com.example.app:/oauth2redirect", "cursor://"])
def test_an_admitted_scheme_can_be_registered_and_used_where_it_is_admitted_alone(uri: str) -> None:
    assert redirect_uris.fault(uri, SCHEMES) == ""
    assert redirect_uris.allowed(uri, (uri,), SCHEMES)
    assert redirect_uris.fault(uri)
    assert not redirect_uris.allowed(uri, (uri,))


@pytest.mark.parametrize(
    "uri",
    [
        "Cursor://anysphere.cursor-mcp/oauth/callback",
        "cursor",
        "cursor:",
        "cursor:x",
        "cursor:javascript:/alert(1)",
        "cursors://anysphere.cursor-mcp/oauth/callback",
        "xcursor://anysphere.cursor-mcp/oauth/callback",
        " cursor://x/cb",
        "cursor://x/cb#fragment",
        "cursor://x/*",
        "cursor://x/c b",
        "cursor://x/\r\ncb",
        "cursor://x/<script>",
        "cursor://x/" + "a" * 2000,
        "vscode://x/cb",
        "com.example.app2:/cb",
        "javascript:/alert(1)",
        "http://app.example/cb",
    ],
)
def test_what_only_looks_like_an_admitted_scheme_is_refused(uri: str) -> None:
    assert redirect_uris.fault(uri, SCHEMES)
    assert not redirect_uris.allowed(uri, (uri,), SCHEMES)


@pytest.mark.parametrize(
    "uri", [CURSOR + "/", CURSOR + "?x", CURSOR.upper(), "cursor://other/oauth/callback", "cursor:/oauth/callback"]
)
def test_such_a_redirect_uri_is_compared_exactly(uri: str) -> None:
    assert not redirect_uris.allowed(uri, (CURSOR,), SCHEMES)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        (CURSOR, "cursor:"),
        ("cursor://claude.ai/cb", "cursor:"),
        ("https://app.example:8443/cb", "app.example:8443"),
        ("http://127.0.0.1:3000/cb", "127.0.0.1:3000"),
        ("https://app.example", "app.example"),
    ],
)
def test_people_are_told_a_host_or_a_scheme_and_never_a_scheme_s_own_idea_of_a_host(uri: str, place: str) -> None:
    assert redirect_uris.place(uri) == place


def test_schemes_are_read_from_the_environment_as_words() -> None:
    assert Settings.from_env({"MCP_REDIRECT_SCHEMES": "cursor, com.example.app"}).redirect_schemes == SCHEMES
    assert Settings.from_env({}).redirect_schemes == ()


@pytest.mark.parametrize(
    "scheme",
    ["http", "https", "javascript", "data", "file", "blob", "vbscript", "about", "filesystem", "view-source", "ws",
     "Cursor", "JAVASCRIPT", "cursor:", "cursor://", "1app", "*", "a b", "é", "a" * 65],
)  # fmt: skip
def test_a_scheme_that_is_no_app_s_ends_the_start(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^MCP_REDIRECT_SCHEMES: "):
        Settings.from_env({"MCP_REDIRECT_SCHEMES": f"cursor,{scheme}"})


async def registered(browser: Visitor, **members: Any) -> str:
    answer = await browser.client.post("/register", json={**APP, **members})
    assert answer.status_code == 201, answer.text
    assert answer.json()["token_endpoint_auth_method"] == "none"
    return answer.json()["client_id"]


async def test_an_app_with_a_scheme_of_its_own_registers_and_is_authorized() -> None:
    async with deploy(redirect_schemes=SCHEMES).visitor() as browser:
        asking = Asking(client_id=await registered(browser), redirect_uri=CURSOR)
        page = await consent_page(browser, asking)
        back = await allow(browser, page)

        assert "cursor: (this computer)" in page.text
        assert "Any program on this computer could have asked for this." in page.text
        assert "form-action 'self' cursor:;" in page.response.headers["content-security-policy"]
        assert back.left.startswith(f"{CURSOR}?code=")
        assert (await redeem(browser.client, asking, back.answer["code"]))["token_type"] == "Bearer"


@pytest.mark.parametrize("uris", [[CURSOR], ["https://app.example/cb", CURSOR], ["cursors://x/cb"]])
async def test_by_default_no_scheme_is_admitted(uris: list[str]) -> None:
    async with deploy().visitor() as browser:
        answer = await browser.client.post("/register", json={"redirect_uris": uris})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


async def test_a_client_of_the_settings_may_have_an_admitted_scheme() -> None:
    client = {"client_id": "cursor", **APP}
    async with deploy(clients=(client,), redirect_schemes=SCHEMES).visitor() as browser:
        assert await authorize(browser, Asking(client_id="cursor", redirect_uri=CURSOR))
    with pytest.raises(ConfigurationError, match="redirect URI"):
        deploy(clients=(client,))


async def test_a_client_s_document_may_name_an_admitted_scheme() -> None:
    there = Strangers()
    there.document = {**GOOD, "redirect_uris": [CURSOR]}
    await there.refusal()
    settings = there.platform.settings.model_copy(update={"redirect_schemes": SCHEMES})
    there.platform = replace(there.platform, settings=settings)
    there.clients = Clients(there.platform, Attempts(there.platform))
    found = await there.authorize()
    assert found is not None
    assert found.redirect_uris == (CURSOR,)


@pytest.mark.parametrize("named", [True, False])
async def test_who_registered_before_a_scheme_was_withdrawn_gets_no_answer_there(named: bool) -> None:
    edge = deploy(redirect_schemes=SCHEMES)
    async with edge.visitor() as browser, edge.instance(redirect_schemes=()).visitor() as later:
        asking = Asking(client_id=await registered(browser), redirect_uri=CURSOR)
        query = {name: value for name, value in asking.query.items() if named or name != "redirect_uri"}
        assert (await browser.visit("/authorize", **query)).status == 200
        refused = await later.visit("/authorize", **query)
        assert (refused.status, refused.left) == (400, "")


async def test_consent_is_not_remembered_for_a_scheme_that_any_program_can_claim() -> None:
    async with deploy(redirect_schemes=SCHEMES).visitor() as browser:
        asking = Asking(client_id=await registered(browser), redirect_uri=CURSOR)
        await authorize(browser, asking)
        again = Asking(client_id=asking.client_id, redirect_uri=CURSOR)
        assert (await consent_page(browser, again, site="none")).heading.startswith("Allow ")
        await authorize(browser)  # an app at an address of its own, for comparison
        assert "code" in (await consent_page(browser, Asking(), site="none")).answer


async def test_a_link_to_this_server_opens_no_app_by_itself() -> None:
    async with deploy(redirect_schemes=SCHEMES).visitor() as browser:
        asking = Asking(client_id=await registered(browser), redirect_uri=CURSOR, more={"scope": "unknown"})
        page = await browser.visit("/authorize", **asking.query)
        assert (page.status, page.left) == (400, "")
        back = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
        assert [link.partition("?")[0] for link in back] == [CURSOR]
        assert "Return to cursor:" in page.text


async def test_the_host_that_a_scheme_writes_links_to_no_site() -> None:
    async with deploy(redirect_schemes=SCHEMES).visitor() as browser:
        uris = ["cursor://claude.ai/cb"]
        client_id = await registered(browser, client_uri="https://claude.ai/", redirect_uris=uris)
        page = await consent_page(browser, Asking(client_id=client_id, redirect_uri=uris[0]))
        assert page.status == 200
        assert "claude.ai" not in page.response.text
