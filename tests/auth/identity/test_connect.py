"""With `upstream_account=connect` a tool sends its user to a page, where the account becomes that user's alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from mcp_edge.app import create_app
from tests.auth.identity.caller import HANDSHAKE, MODERN, Caller, at, create_server, message, said
from tests.auth.identity.provider import CLIENT, Provider
from tests.auth.identity.test_sign_in import back
from tests.auth.server.deployment import Deploy, Deployment, authorize
from tests.support.visitor import Page, Visitor

pytestmark = pytest.mark.anyio


def settings_of(provider: Provider) -> dict[str, Any]:
    return {
        "upstream_account": "connect",
        "connect_provider": "oidc",
        "connect_issuer": provider.issuer,
        "connect_client_id": CLIENT["client_id"],
        "connect_client_secret": CLIENT["client_secret"],
    }


@pytest.fixture
def site(provider: Provider, http: httpx.AsyncClient) -> Deployment:
    return at(provider, http, **settings_of(provider))


@pytest.fixture
def anywhere(provider: Provider, http: httpx.AsyncClient, everywhere: Deploy) -> Deployment:
    """The same on each engine, for what depends on what is stored."""
    return at(provider, http, everywhere, **settings_of(provider))


async def caller_of(site: Deployment, visitor: Visitor, user: str = "alice", **more: Any) -> Caller:
    """A client that this user has let in, in this browser."""
    return Caller(site, (await authorize(visitor, user=user))["access_token"], **more)


async def link(caller: Caller) -> str:
    """The link that a call is answered with."""
    return message(await caller.call())["result"]["inputRequests"]["connect"]["params"]["url"]


async def connect(provider: Provider, visitor: Visitor, url: str, answer: str = "login=alice-there") -> Page:
    """Open the link and go the whole way."""
    page = await visitor.visit(url)
    left = await visitor.press(page, f"Continue to {provider.name}")
    return await keep(visitor, await provider.answer(left.left, answer))


async def keep(visitor: Visitor, url: str) -> Page:
    """Come back from the provider, and have the account kept."""
    page = await back(visitor, url)
    return await visitor.press(page, "Connect") if page.status == 200 else page


async def test_a_client_of_2026_asks_its_user_and_comes_back_for_the_result(
    provider: Provider, site: Deployment
) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        result = message(await caller.call())["result"]
        asked = result["inputRequests"]["connect"]
        url = asked["params"]["url"]

        page = await connect(provider, visitor, url)
        done = await caller.call(inputResponses={"connect": {"action": "accept"}})

    assert asked == {
        "method": "elicitation/create",
        "params": {
            "mode": "url",
            "message": f"This needs your {provider.name} account, which is not connected. Open the link to connect it.",
            "url": url,
        },
    }
    assert result["resultType"] == "input_required"
    assert url.startswith("https://mcp.example/connect/")
    assert page.heading == "Connected"
    assert "alice-there" in page.text
    assert said(done) == (False, "alice-there")


async def test_a_client_of_2025_is_told_by_the_error_of_its_revision_and_calls_again(
    provider: Provider, site: Deployment
) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor, version=HANDSHAKE)
        error = message(await caller.call())["error"]
        (asked,) = error["data"]["elicitations"]

        await connect(provider, visitor, asked["url"])
        done = await caller.call()

    assert error["code"] == -32042
    assert (asked["mode"], len(asked["elicitationId"])) == ("url", 32)
    assert said(done) == (False, "alice-there")


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {}}, {"elicitation": {"form": {}}}])
async def test_a_client_that_opens_no_links_gives_its_user_the_link_in_words(
    provider: Provider, site: Deployment, version: str, capabilities: dict[str, Any]
) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor, version=version, capabilities=capabilities)
        failed, text = said(await caller.call())

        assert failed
        await connect(provider, visitor, text.rpartition(" ")[2])
        assert said(await caller.call()) == (False, "alice-there")


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_a_resource_asks_as_a_tool_does(provider: Provider, site: Deployment, version: str) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor, version=version)
        answer = message(await caller.request("resources/read", {"uri": "there://account"}, name="there://account"))

    if version == MODERN:
        assert answer["result"]["inputRequests"]["connect"]["params"]["url"].startswith("https://mcp.example/connect/")
    else:
        assert answer["error"]["data"]["elicitations"][0]["url"].startswith("https://mcp.example/connect/")


async def test_a_client_that_comes_back_early_waits_until_the_account_is_there(
    provider: Provider, site: Deployment
) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        url = await link(caller)
        answered: list[tuple[bool, str]] = []

        async def wait() -> None:
            answered.append(said(await caller.call(inputResponses={"connect": {"action": "accept"}})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await connect(provider, visitor, url)

    assert answered == [(False, "alice-there")]


@pytest.mark.parametrize(("streaming", "patience_s"), [(True, 600), (False, 5)], ids=["streaming", "buffered"])
async def test_a_client_that_has_waited_for_long_is_asked_again(
    site: Deployment, streaming: bool, patience_s: float
) -> None:
    platform = replace(site.platform, streaming=streaming)
    site = Deployment(create_app(create_server, platform), platform, site.clock)
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        first, began = await link(caller), site.clock.now
        answers: list[dict[str, Any]] = []

        async def wait() -> None:
            answers.append(message(await caller.call(inputResponses={"connect": {"action": "accept"}})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            while not answers:
                site.clock.now += patience_s / 4
                await anyio.sleep(0.02)

    assert site.clock.now - began >= patience_s
    assert answers[0]["result"]["inputRequests"]["connect"]["params"]["url"].startswith(first.rpartition("/")[0])


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_who_does_not_open_the_link_is_not_asked_without_end(site: Deployment, action: str) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        await link(caller)

        refused = await caller.call(inputResponses={"connect": {"action": action}})

    assert said(refused) == (True, "The user did not open the link, without which this cannot be done.")


async def test_another_question_of_the_tool_is_asked_beside_it(provider: Provider, site: Deployment) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        asked = message(await caller.call("paint"))["result"]
        await connect(provider, visitor, asked["inputRequests"]["connect"]["params"]["url"])

        again = message(await caller.call("paint", inputResponses={"connect": {"action": "accept"}}))["result"]
        (key,) = again["inputRequests"]
        done = await caller.call(
            "paint",
            inputResponses={key: {"action": "accept", "content": {"colour": "red"}}},
            requestState=again["requestState"],
        )

    assert said(done) == (False, "alice-there red True")


async def test_a_link_that_another_user_opens_connects_nothing(provider: Provider, anywhere: Deployment) -> None:
    """MCP 2026-07-28 elicitation, Phishing: alice has bob open her link."""
    async with anywhere.visitor() as hers, anywhere.visitor() as his:
        alice, bob = await caller_of(anywhere, hers, "alice"), await caller_of(anywhere, his, "bob")
        url = await link(alice)

        shown = await his.visit(url, site="cross-site")
        sent = await his.post(url, [])

        assert [(page.status, page.left) for page in (shown, sent)] == [(403, ""), (403, "")]
        assert "made for another user" in shown.text
        await connect(provider, hers, url, "login=alice-there")
        assert said(await alice.call()) == (False, "alice-there")
        assert "inputRequests" in message(await bob.call())["result"]


async def test_whoever_is_not_signed_in_signs_in_first_and_is_brought_back(
    provider: Provider, site: Deployment
) -> None:
    async with site.visitor() as visitor, site.visitor() as elsewhere:
        caller = await caller_of(site, visitor)
        url = await link(caller)

        page = await elsewhere.press(await elsewhere.visit(url), "Sign in", type_in={"value": "alice"})

        assert urlsplit(page.url).path == urlsplit(url).path
        left = await elsewhere.press(page, f"Continue to {provider.name}")
        done = await keep(elsewhere, await provider.answer(left.left, "login=alice-there"))
        assert done.heading == "Connected"
        assert said(await caller.call()) == (False, "alice-there")


async def test_what_the_provider_sends_back_counts_in_the_browser_that_left_for_it(
    provider: Provider, anywhere: Deployment
) -> None:
    """A victim who is lured to /oauth/connected with an attacker's code keeps his own account."""
    async with anywhere.visitor() as hers, anywhere.visitor() as his:
        alice, bob = await caller_of(anywhere, hers, "alice"), await caller_of(anywhere, his, "bob")
        left = await hers.press(await hers.visit(await link(alice)), f"Continue to {provider.name}")
        returned = await provider.answer(left.left, "login=alice-there")

        lured = await back(his, returned)

        assert (lured.status, lured.left) == (403, "")
        assert "inputRequests" in message(await bob.call())["result"]
        assert (await keep(hers, returned)).heading == "Connected"
        assert (await back(hers, returned)).status == 403
        assert said(await alice.call()) == (False, "alice-there")


async def test_not_even_the_same_user_s_other_browser_finishes_it(provider: Provider, anywhere: Deployment) -> None:
    async with anywhere.visitor() as first, anywhere.visitor() as second:
        caller = await caller_of(anywhere, first)
        await caller_of(anywhere, second)
        left = await first.press(await first.visit(await link(caller)), f"Continue to {provider.name}")
        returned = await provider.answer(left.left, "login=alice-there")

        assert (await back(second, returned)).status == 403
        assert (await keep(first, returned)).heading == "Connected"


async def test_an_account_is_not_kept_for_a_user_who_took_the_browser_over(
    provider: Provider, anywhere: Deployment
) -> None:
    async with anywhere.visitor() as shared:
        alice = await caller_of(anywhere, shared, "alice")
        left = await shared.press(await shared.visit(await link(alice)), f"Continue to {provider.name}")
        await shared.press(await shared.visit("/apps"), "Sign out here")
        bob = await caller_of(anywhere, shared, "bob")

        page = await back(shared, await provider.answer(left.left, "login=alice-there"))

        assert page.status == 403
        assert "inputRequests" in message(await bob.call())["result"]


async def test_a_link_leads_away_once_and_for_ten_minutes(provider: Provider, anywhere: Deployment) -> None:
    async with anywhere.visitor() as visitor:
        caller = await caller_of(anywhere, visitor)
        url = await link(caller)
        assert (await visitor.press(await visitor.visit(url), f"Continue to {provider.name}")).left

        assert (await visitor.visit(url)).status == 404
        late = await link(caller)
        assert late != url
        anywhere.clock.now += 601
        assert (await visitor.visit(late)).status == 404


async def test_a_link_that_is_asked_for_again_is_the_same_until_it_is_too_old(site: Deployment) -> None:
    async with site.visitor() as visitor, site.visitor() as other:
        caller, bobs = await caller_of(site, visitor), await caller_of(site, other, "bob")
        first = await link(caller)
        stored = len(await site.platform.atomics.read("flow/", limit=1000))
        again = {await link(caller) for _ in range(20)}
        assert (again, len(await site.platform.atomics.read("flow/", limit=1000))) == ({first}, stored)

        of_bob = await link(bobs)
        site.clock.now += 301
        later = await link(caller)
        assert len({first, of_bob, later}) == 3
        assert [(await visitor.visit(url)).status for url in (first, later, of_bob)] == [200, 200, 403]


@pytest.mark.parametrize("path", ["/connect/", "/connect/x", "/connect/" + "0" * 64, "/connect/a/b", "/connect/%ff"])
async def test_an_invented_link_leads_nowhere(site: Deployment, path: str) -> None:
    async with site.visitor() as visitor:
        await caller_of(site, visitor)
        assert (await visitor.visit(path)).status == 404


async def test_the_page_is_answered_from_the_page_alone(provider: Provider, anywhere: Deployment) -> None:
    async with anywhere.visitor() as visitor:
        caller = await caller_of(anywhere, visitor)
        url = await link(caller)

        forged = await visitor.post(url, [], origin="https://evil.test", site="cross-site")

        assert (forged.status, forged.left) == (403, "")
        assert (await visitor.press(await visitor.visit(url), f"Continue to {provider.name}")).left


async def test_a_user_who_denies_at_the_provider_has_connected_nothing(provider: Provider, site: Deployment) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        page = await connect(provider, visitor, await link(caller), "deny=1")

        assert page.status == 403
        assert "cancelled or denied" in page.text
        assert "inputRequests" in message(await caller.call())["result"]


async def test_the_link_says_nothing_of_the_user_and_the_store_nothing_of_the_link(site: Deployment) -> None:
    async with site.visitor() as visitor:
        url = await link(await caller_of(site, visitor))
        handle = url.rpartition("/")[2]

        kept = await site.platform.atomics.read("flow/", limit=1000)
        kept += await site.platform.atomics.read("invited/", limit=1000)

    assert len(kept) >= 2
    assert len(handle) == 64
    assert "alice" not in url
    assert all(handle not in entry.key and handle.encode() not in entry.value for entry in kept)


async def test_an_account_that_the_provider_takes_back_is_asked_for_again(http: httpx.AsyncClient) -> None:
    with Provider() as provider:
        site = at(provider, http, **settings_of(provider))
        async with site.visitor() as visitor:
            caller = await caller_of(site, visitor)
            await connect(provider, visitor, await link(caller))
            assert said(await caller.call()) == (False, "alice-there")
            await provider.post("/revoke")

            asked = message(await caller.call())["result"]["inputRequests"]["connect"]["params"]

            assert asked["message"] == (
                f"{provider.name} takes the credential of your account no more. Open the link to connect it."
            )
            await connect(provider, visitor, asked["url"], "login=alice-anew")
            assert said(await caller.call()) == (False, "alice-anew")


async def test_a_disconnected_account_is_asked_for_again(provider: Provider, site: Deployment) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        await connect(provider, visitor, await link(caller))
        apps = await visitor.visit("/apps")
        await visitor.press(apps, "Disconnect")

        assert await link(caller)


async def test_the_link_is_in_no_line_of_the_log(site: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with site.visitor() as visitor, site.visitor() as stranger:
        url = await link(await caller_of(site, visitor))
        await authorize(stranger, user="mallory")
        for page in (await stranger.visit(url), await stranger.visit(url + "x")):
            assert page.status in (403, 404)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("mcp_edge")]
    assert [line.split(" reason")[0] for line in lines if "what=connect" in line] == [
        "what=connect outcome=refused address=127.0.0.1"
    ] * 2
    assert [line for line in lines if urlsplit(url).path.rpartition("/")[2] in line] == []


async def test_the_page_says_who_asked_and_when_to_close_it(site: Deployment) -> None:
    async with site.visitor() as visitor:
        page = await visitor.visit(await link(await caller_of(site, visitor)))
    assert "An app that you use with this server has called a tool that needs your account" in page.text
    assert "If no app of yours has just asked for this, close this page." in page.text


async def test_an_account_is_kept_for_nobody_whose_name_its_owner_has_not_seen(
    provider: Provider, anywhere: Deployment
) -> None:
    """Mallory has both cookies of his in her browser, as if they could be planted, and his link to the provider."""
    async with anywhere.visitor() as his, anywhere.visitor() as hers:
        mallory = await caller_of(anywhere, his, "mallory")
        left = await his.press(await his.visit(await link(mallory)), f"Continue to {provider.name}")
        for name in ("__Host-mcp-browser", "__Host-mcp-session"):
            hers.client.cookies.set(name, his.cookie(name), domain="mcp.example")
        arrived = await back(hers, await provider.answer(left.left, "login=alice-there"))
        assert arrived.text.split("\n")[1:8] == [
            "Use this 127.0.0.1 account here?".replace("127.0.0.1", provider.name),
            f"Account at {provider.name}",
            "alice-there",
            "For",
            "mallory",
            "Server",
            "https://mcp.example",
        ]
        assert "inputRequests" in message(await mallory.call())["result"], "nothing is kept until she says so"
        refused = await hers.press(arrived, "Do not connect")
        late = await hers.press(arrived, "Connect")

        assert (refused.heading, late.status) == ("Not connected", 403)
        assert "inputRequests" in message(await mallory.call())["result"]
        assert (await connect(provider, his, await link(mallory), "login=mallory-there")).heading == "Connected"
        assert said(await mallory.call()) == (False, "mallory-there")


async def test_what_was_brought_is_kept_once_from_its_own_page_and_for_ten_minutes(
    provider: Provider, anywhere: Deployment
) -> None:
    async with anywhere.visitor() as hers, anywhere.visitor() as his:
        alice, bob = await caller_of(anywhere, hers, "alice"), await caller_of(anywhere, his, "bob")
        arrived: list[Page] = []
        for _ in range(2):
            left = await hers.press(await hers.visit(await link(alice)), f"Continue to {provider.name}")
            arrived.append(await back(hers, await provider.answer(left.left, "login=alice-there")))
        (form,) = arrived[0].forms
        connecting = [*form.fields, ("choice", "connect")]
        others = [
            await his.post("/oauth/connected", connecting),
            await hers.post("/oauth/connected", connecting, origin="https://evil.test", site="cross-site"),
            await hers.post("/oauth/connected", connecting, cookies=False),
            await hers.post("/oauth/connected", [("handle", "0" * 64), ("choice", "connect")]),
            await hers.post("/oauth/connected", [*form.fields, ("choice", "keep")]),
        ]
        assert [page.status for page in others] == [403, 403, 403, 403, 400]
        assert "inputRequests" in message(await alice.call())["result"]

        assert (await hers.press(arrived[0], "Connect")).heading == "Connected"
        assert (await hers.press(arrived[0], "Connect")).status == 403
        anywhere.clock.now += 601
        assert (await hers.press(arrived[1], "Connect")).status == 403
        assert said(await alice.call()) == (False, "alice-there")
        assert "inputRequests" in message(await bob.call())["result"]


async def test_what_was_brought_is_sealed_and_its_page_has_a_handle_alone(provider: Provider, site: Deployment) -> None:
    async with site.visitor() as visitor:
        caller = await caller_of(site, visitor)
        left = await visitor.press(await visitor.visit(await link(caller)), f"Continue to {provider.name}")
        arrived = await back(visitor, await provider.answer(left.left, "login=alice-there"))
        await visitor.press(arrived, "Connect")
        (account,) = [e.value for e in await site.platform.atomics.read("account/", limit=10)]
        kept = b"".join(e.value for e in await site.platform.atomics.read("", limit=1000))

        assert account
        assert b"access_token" not in kept
        assert [len(value) for name, value in arrived.forms[0].fields if name == "handle"] == [64]
