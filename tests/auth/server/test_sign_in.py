"""Signing in, here and at a provider: in the browser in which it was begun, and never to a stranger's place."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from mcp_edge.auth.identity.github import GitHub as Provider
from mcp_edge.auth.identity.provider import Departure
from mcp_edge.auth.server.attempts import PER_WINDOW
from mcp_edge.errors import UpstreamError
from tests.auth.server.deployment import (
    CLIENT,
    PUBLIC_URL,
    Asking,
    Deploy,
    allow,
    authorize,
    consent_page,
    deploy,
    redeem,
    sign_in,
)
from tests.auth.server.upstream import GitHub
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

KEY = "mek_alices-key"


def key_settings(key: str = KEY, *, url: str = PUBLIC_URL, scopes: str = "") -> dict[str, Any]:
    """Settings by which alice has this key."""
    digest = sha256(f"{url}\n{key}".encode()).hexdigest()
    return {"identity": "keys", "keys": {"alice": f"{digest}:{scopes}" if scopes else digest}}


async def test_who_has_a_key_signs_in_with_it() -> None:
    async with deploy(**key_settings()).visitor() as browser:
        page = await browser.visit("/sign-in")
        wrong = await browser.press(page, "Sign in", type_in={"value": "mek_another"})
        right = await browser.press(wrong, "Sign in", type_in={"value": f" {KEY} "})

        kinds = [attributes.get("type") for name, attributes in page.tags if name == "input"]
        assert kinds == ["hidden", "password"]
        assert (wrong.status, wrong.heading) == (403, "Sign in")
        assert "Nobody can sign in with this. Check the access key." in wrong.text
        assert "mek_another" not in wrong.response.text
        assert "Signed in as alice." in right.text


async def test_a_key_made_for_another_server_is_nobodys() -> None:
    async with deploy(**key_settings(url="https://other.example")).visitor() as browser:
        page = await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": KEY})

        assert page.status == 403


async def test_a_user_with_a_limited_key_grants_no_more_than_the_key_allows() -> None:
    async with deploy(**key_settings(scopes="notes:read")).visitor() as browser:
        assert (await authorize(browser, user=KEY))["scope"] == "notes:read"
        denied = await allow(browser, await consent_page(browser, Asking(more={"scope": "notes:delete"})))

        assert denied.answer["error"] == "access_denied"


async def test_a_limited_key_allows_what_its_scopes_include() -> None:
    async with deploy(**key_settings(scopes="notes:write")).visitor() as browser:
        assert (await authorize(browser, Asking(more={"scope": "notes:read"}), user=KEY))["scope"] == "notes:read"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65, "\x00"])
async def test_a_name_is_printable_and_short(name: str) -> None:
    async with deploy().visitor() as browser:
        page = await browser.post("/sign-in", [("return", "/apps"), ("value", name)])

        assert (page.status, page.heading) == (403, "Sign in")


async def test_a_value_is_bounded() -> None:
    async with deploy().visitor() as browser:
        assert (await browser.post("/sign-in", [("value", "x" * 513)])).status == 400
        assert (await browser.post("/sign-in", [("value", "x" * 70_000)])).status == 413


async def test_attempts_are_few_and_come_again(everywhere: Deploy) -> None:
    edge = everywhere(**key_settings())
    async with edge.visitor(address="198.51.100.7") as guesser, edge.visitor(address="198.51.100.8") as other:
        page = await guesser.visit("/sign-in")
        tried = [
            (await guesser.press(page, "Sign in", type_in={"value": f"mek_{i}"})).status
            for i in range(PER_WINDOW["sign-in"] + 1)
        ]
        late = await guesser.press(page, "Sign in", type_in={"value": KEY})

        assert tried == [403] * PER_WINDOW["sign-in"] + [429]
        assert (late.status, late.heading) == (429, "Too many attempts")
        assert int(late.response.headers["retry-after"]) > 0
        there = await other.press(await other.visit("/sign-in"), "Sign in", type_in={"value": KEY})
        assert there.heading == "Connected apps"
        edge.clock.now += 120
        assert (await guesser.press(page, "Sign in", type_in={"value": KEY})).heading == "Connected apps"


@pytest.mark.parametrize(
    "where",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/apps/../../evil",
        "/apps\r\nlocation: https://evil.example",
        "/apps?x",
        "javascript:alert(1)",
        "/token",
        "apps",
        "",
    ],
)
async def test_a_sign_in_leads_to_no_page_but_ours(where: str) -> None:
    async with deploy().visitor() as browser:
        page = await browser.visit("/sign-in", **{"return": where})
        after = await browser.press(page, "Sign in", type_in={"value": "alice"})
        again = await browser.visit("/sign-in", **{"return": where})
        forged = await browser.post("/sign-in", [("return", where), ("value", "alice")])

        assert [p.url for p in (after, again, forged)] == [f"{PUBLIC_URL}/apps"] * 3
        assert [p.left for p in (after, again, forged)] == [""] * 3


async def test_a_sign_in_form_from_elsewhere_is_refused() -> None:
    async with deploy().visitor() as browser:
        for path, fields in (("/sign-in", [("value", "mallory")]), ("/sign-out", []), ("/apps", [("do", "revoke")])):
            forged = await browser.post(path, fields, origin="https://evil.example", site="cross-site")
            assert (forged.status, forged.left) == (403, "")
        assert (await browser.visit("/apps")).heading == "Sign in"


async def test_a_step_of_the_sign_in_belongs_to_the_browser_that_began_it(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as theirs, edge.visitor() as mine:
        asking = Asking()
        waiting = await theirs.press(await consent_page(theirs, asking), "Allow")
        state = parse_qs(urlsplit(waiting.url).query)["flow"][0]
        await consent_page(mine, asking)
        looked = await mine.visit(waiting.url)
        forged = await mine.post("/sign-in", [("flow", state), ("value", "victim")])
        honest = await sign_in(theirs, waiting)

        assert [(p.status, p.left) for p in (looked, forged)] == [(403, "")] * 2
        assert "code" in honest.answer


async def test_a_step_of_the_sign_in_counts_once_and_for_ten_minutes(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        first = await browser.press(await consent_page(browser, Asking()), "Allow")
        second = await browser.press(await consent_page(browser, Asking()), "Allow")
        done = await sign_in(browser, first)
        again = await browser.press(first, "Sign in", type_in={"value": "alice"})
        edge.clock.now += 600
        late = await browser.press(second, "Sign in", type_in={"value": "alice"})

        assert "code" in done.answer
        assert [(p.status, p.left) for p in (again, late)] == [(403, "")] * 2


async def test_a_mistyped_key_does_not_use_the_step_up() -> None:
    async with deploy(**key_settings()).visitor() as browser:
        page = await browser.press(await consent_page(browser, Asking()), "Allow")
        wrong = await browser.press(page, "Sign in", type_in={"value": "mek_wrong"})

        assert "To go on to An app." in wrong.text
        assert "code" in (await sign_in(browser, wrong, user=KEY)).answer


async def test_a_user_comes_back_from_the_provider_with_a_code_for_the_client() -> None:
    github = GitHub()
    async with github.deploy().visitor() as browser:
        asking = Asking()
        page = await consent_page(browser, asking)
        away = await browser.press(page, "Allow")
        back = await github.back(browser, away)

        assert "You will sign in with GitHub next." in page.text
        assert away.response.status_code == 303
        assert set(parse_qs(urlsplit(away.left).query)) == {
            "response_type",
            "client_id",
            "redirect_uri",
            "state",
            "code_challenge",
            "code_challenge_method",
        }
        assert (await redeem(browser.client, asking, back.answer["code"]))["scope"] == "notes:read notes:write"
        assert "Signed in as octocat." in (await browser.visit("/apps")).text


async def test_nobody_leaves_for_the_provider_without_consent() -> None:
    github = GitHub()
    async with github.deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        denied = await browser.press(page, "Deny")

        assert (page.status, page.left) == (200, "")
        assert denied.answer["error"] == "access_denied"
        assert github.asked == []


async def test_what_was_allowed_in_one_browser_is_not_finished_in_another(everywhere: Deploy) -> None:
    github = GitHub()
    edge = github.deploy(everywhere)
    async with edge.visitor() as attackers, edge.visitor() as victims:
        away = await attackers.press(await consent_page(attackers, Asking()), "Allow")
        await consent_page(victims, Asking())
        lured = await github.back(victims, away)

        assert (lured.status, lured.left) == (403, "")
        assert "another browser" in lured.text
        assert github.asked == [], "the provider was asked for somebody else's code"
        assert (await victims.visit("/apps")).heading == "Sign in"
        assert "code" in (await github.back(attackers, away)).answer


async def test_a_browser_without_a_cookie_finishes_nothing(everywhere: Deploy) -> None:
    github = GitHub()
    edge = github.deploy(everywhere)
    async with edge.visitor() as attackers, edge.visitor() as fresh:
        away = await attackers.press(await consent_page(attackers, Asking()), "Allow")
        lured = await github.back(fresh, away)

        assert (lured.status, lured.left, github.asked) == (403, "", [])
        assert "set-cookie" not in lured.response.headers


async def test_a_return_counts_once_and_for_ten_minutes(everywhere: Deploy) -> None:
    github = GitHub()
    edge = github.deploy(everywhere)
    async with edge.visitor() as browser:
        first = await browser.press(await consent_page(browser, Asking()), "Allow")
        second = await browser.press(await consent_page(browser, Asking()), "Allow")
        done = await github.back(browser, first)
        again = await github.back(browser, first)
        edge.clock.now += 600
        late = await github.back(browser, second)

        assert "code" in done.answer
        assert [(p.status, p.left) for p in (again, late)] == [(403, "")] * 2
        assert github.asked == ["/login/oauth/access_token", "/api/v3/user"]


@pytest.mark.parametrize(
    "query", ["", "code=a", "state=", "state=x&code=a", "state=x&state=y&code=a", "code=%ff&state=x"]
)
async def test_a_return_that_nobody_began_is_refused(query: str) -> None:
    github = GitHub()
    async with github.deploy().visitor() as browser:
        await consent_page(browser, Asking())
        page = await browser.visit(f"/oauth/callback?{query}", site="cross-site")

        assert page.left == ""
        assert page.status in (400, 403)
        assert github.asked == []


async def test_a_denial_at_the_provider_is_told_to_the_client() -> None:
    github = GitHub()
    async with github.deploy().visitor() as browser:
        away = await browser.press(await consent_page(browser, Asking()), "Allow")
        back = await github.back(browser, away, error="access_denied")

        assert (back.answer["error"], back.answer["state"], back.answer["iss"]) == (
            "access_denied",
            "a state",
            PUBLIC_URL,
        )


async def test_a_provider_that_is_down_is_told_to_the_client() -> None:
    github = GitHub(status=503)
    async with github.deploy().visitor() as browser:
        away = await browser.press(await consent_page(browser, Asking()), "Allow")
        back = await github.back(browser, away)

        assert (back.answer["error"], back.answer["iss"]) == ("temporarily_unavailable", PUBLIC_URL)


async def test_a_page_can_be_sent_again_after_the_provider_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    github = GitHub()
    async with github.deploy().visitor() as browser:
        page = await consent_page(browser, Asking())
        with monkeypatch.context() as away:
            away.setattr(Provider, "depart", _unreachable)
            failed = await browser.press(page, "Allow")
        left = await browser.press(page, "Allow")
        again = await browser.press(page, "Allow")

        assert (failed.status, failed.left) == (502, "")
        assert "The sign-in service did not answer" in failed.text
        assert "code" in (await github.back(browser, left)).answer
        assert (again.status, again.left) == (400, "")


async def _unreachable(*_: object, **__: object) -> Departure:
    raise UpstreamError("down")


async def test_our_own_pages_are_reached_through_the_provider_too() -> None:
    github = GitHub()
    async with github.deploy().visitor() as browser:
        page = await browser.visit("/apps")
        away = await browser.press(page, "Continue with GitHub")
        back = await github.back(browser, away)

        assert page.heading == "Sign in"
        assert (back.url, back.heading) == (f"{PUBLIC_URL}/apps", "Connected apps")


async def test_where_tools_need_the_users_account_the_provider_is_asked_again() -> None:
    github = GitHub()
    async with github.deploy(upstream_account="identity").visitor() as browser:
        away = await browser.press(await consent_page(browser, Asking()), "Allow")
        assert "code" in (await github.back(browser, away)).answer
        with_account = await browser.press(await consent_page(browser, Asking()), "Allow")
        assert "code" in with_account.answer
        apps = await browser.visit("/apps")
        assert "Tools act with your account at GitHub." in apps.text
        apps = await browser.press(apps, "Disconnect")
        assert "The account is disconnected." in apps.text
        without = await browser.press(await consent_page(browser, Asking()), "Allow")

        assert without.left.startswith("https://github.example/login/oauth/authorize?")


@pytest.mark.parametrize(
    "gone",
    [
        {"keys": {"alice": sha256(f"{PUBLIC_URL}\nmek_alices-next-key".encode()).hexdigest()}},
        key_settings(scopes="notes:read"),
        {"keys": {}, "identity": "dev"},
    ],
    ids=["another key", "a narrower key", "another way to sign in"],
)
async def test_who_is_no_longer_admitted_is_signed_out_and_their_grants_end(
    everywhere: Deploy, gone: dict[str, Any]
) -> None:
    before = everywhere(**key_settings())
    async with before.visitor() as browser:
        tokens = await authorize(browser, user=KEY)
        refresh = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": tokens["refresh_token"]}
        kept = await browser.client.post("/token", data=refresh)
        assert kept.status_code == 200
        assert "Signed in as alice." in (await browser.visit("/apps")).text

        after = Visitor(before.instance(**gone).app, PUBLIC_URL)
        after.client.cookies.update(browser.client.cookies)
        async with after:
            refresh["refresh_token"] = kept.json()["refresh_token"]
            for token in (tokens["access_token"], kept.json()["access_token"]):
                assert [await called(client, token) for client in (browser.client, after.client)] == [200, 401]
            refused = await after.client.post("/token", data=refresh)
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
            assert (await after.visit("/apps")).heading == "Sign in"
        assert (await browser.client.post("/token", data=refresh)).status_code == 400, "it stays ended"


async def called(client: httpx.AsyncClient, token: str) -> int:
    """The status of a call with an access token."""
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a client", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    return (await client.post("/mcp", headers=headers, json=message)).status_code


async def test_who_is_taken_off_the_list_of_users_is_out_at_the_next_request(everywhere: Deploy) -> None:
    github, secret = GitHub(), "a client's secret"
    client = {**CLIENT, "client_secret_sha256": sha256(secret.encode()).hexdigest()}
    proof = {"client_id": "app", "client_secret": secret}
    edge = github.deploy(everywhere, allowed_users=("583231", "login:octocat", "1"), clients=(client,))
    asking, waiting = Asking(), Asking()
    async with edge.visitor() as browser:
        back = await github.back(browser, await browser.press(await consent_page(browser, asking), "Allow"))
        code = (await allow(browser, await consent_page(browser, waiting))).answer["code"]
        form = {"grant_type": "authorization_code", "redirect_uri": asking.redirect_uri, **proof}
        first = {**form, "code": back.answer["code"], "code_verifier": asking.verifier}
        tokens = (await browser.client.post("/token", data=first)).json()

        async def seen(*allowed: str) -> tuple[int, bool, bool]:
            """What an instance that allows these makes of the access token, and of either token at /introspect."""
            async with edge.instance(allowed_users=allowed).client() as there:
                asked = [
                    (await there.post("/introspect", data={**proof, "token": tokens[name]})).json()["active"]
                    for name in ("access_token", "refresh_token")
                ]
                return await called(there, tokens["access_token"]), *asked

        assert await seen("583231") == (200, True, True)
        assert await seen("1") == await seen("login:octocat") == (401, False, False)
        async with edge.instance(allowed_users=("1",)).client() as there:
            second = {**form, "code": code, "code_verifier": waiting.verifier}
            assert (await there.post("/token", data=second)).json()["error"] == "invalid_grant"
        assert await seen("583231") == (200, True, True)
