"""The two cookies: what they look like, what is stored of them, and that neither can be fixed beforehand."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.auth.server.deployment import Asking, Deploy, Deployment, allow, authorize, consent_page, deploy
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

SESSION, BINDING = "__Host-mcp-session", "__Host-mcp-browser"


async def sign_in(browser: Visitor, user: str = "alice") -> str:
    """Sign in: the value of the cookie."""
    await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": user})
    return browser.cookie(SESSION)


async def stored(edge: Deployment) -> dict[str, bytes]:
    """Everything that is stored."""
    atomics = {entry.key: entry.value for entry in await edge.platform.atomics.read("", limit=1000)}
    records = {key: await edge.platform.records.get(key) or b"" for key in await edge.platform.records.list("")}
    return atomics | records


async def test_the_cookies_are_for_this_host_and_for_no_script() -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        asked = await consent_page(browser, Asking())
        page = await browser.visit("/sign-in")
        response = await browser.client.post(
            "/sign-in",
            data={"value": "alice"},
            headers={"origin": browser.origin},
        )
        binding, session = asked.response.headers["set-cookie"], response.headers["set-cookie"]

    assert page.status == 200
    assert binding.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"]
    assert session.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=28800"]
    assert (binding.split("=")[0], session.split("=")[0]) == (BINDING, SESSION)


async def test_nothing_stored_leads_to_a_browser_or_names_its_user() -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        await consent_page(browser, Asking())
        value = await sign_in(browser, "alice-the-user")
        everything = await stored(edge)
        text = b"\n".join(key.encode() + b" " + record for key, record in everything.items())

        assert f"browser/{sha256(value.encode()).hexdigest()}" in everything
        for secret in (value, browser.cookie(BINDING), "alice-the-user"):
            assert secret.encode() not in text


async def test_a_cookie_from_before_the_sign_in_never_becomes_the_users(everywhere: Deploy) -> None:
    edge = everywhere()
    planted = "A" * 43
    async with edge.visitor() as victims, edge.visitor() as attackers:
        for browser in (victims, attackers):
            browser.client.cookies.set(SESSION, planted, domain="mcp.example")
        await victims.press(await victims.visit("/sign-in"), "Sign in", type_in={"value": "alice"})

        assert planted not in [cookie.value for cookie in victims.client.cookies.jar if cookie.domain == ".mcp.example"]
        assert (await attackers.visit("/apps")).heading == "Sign in"


async def test_each_sign_in_has_a_cookie_of_its_own_and_ends_the_one_before(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser, edge.visitor() as old:
        first = await sign_in(browser, "alice")
        old.client.cookies.set(SESSION, first, domain="mcp.example")
        assert (await old.visit("/apps")).heading == "Connected apps"
        second = await allow_as(browser, "bob")

        assert first != second
        assert (await old.visit("/apps")).heading == "Sign in"
        assert "Signed in as bob." in (await browser.visit("/apps")).text


async def test_who_signs_in_again_leaves_no_cookie_of_before_behind(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        page = await browser.visit("/sign-in")
        first = (await browser.press(page, "Sign in", type_in={"value": "alice"})) and browser.cookie(SESSION)
        await browser.press(page, "Sign in", type_in={"value": "alice"})
        old = await edge.client().get("/apps", headers={"cookie": f"{SESSION}={first}"})
        new = await edge.client().get("/apps", headers={"cookie": f"{SESSION}={browser.cookie(SESSION)}"})

        assert (old.status_code, new.status_code) == (303, 200)
        for value, there in ((first, False), (browser.cookie(SESSION), True)):
            kept = await edge.platform.atomics.get(f"browser/{sha256(value.encode()).hexdigest()}")
            assert (kept is not None) is there


async def allow_as(browser: Visitor, user: str) -> str:
    """Switch to another user on the consent page: the value of the new cookie."""
    page = await browser.press(await consent_page(browser, Asking()), "Not you?")
    assert "code" in (await allow(browser, page, user=user)).answer
    return browser.cookie(SESSION)


async def test_signing_out_ends_it_at_the_server(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser, edge.visitor() as copy:
        value = await sign_in(browser)
        copy.client.cookies.set(SESSION, value, domain="mcp.example")
        assert (await copy.visit("/apps")).heading == "Connected apps"
        page = await browser.press(await browser.visit("/apps"), "Sign out here")

        assert page.heading == "Sign in"
        assert (await copy.visit("/apps")).heading == "Sign in"
        assert await edge.platform.atomics.get(f"browser/{sha256(value.encode()).hexdigest()}") is None


async def test_a_browser_stays_signed_in_for_its_time(everywhere: Deploy) -> None:
    edge = everywhere(sign_in_ttl_s=3600)
    async with edge.visitor() as browser:
        await sign_in(browser)
        value = browser.cookie(SESSION)
        edge.clock.now += 3599
        assert (await browser.visit("/apps")).heading == "Connected apps"
        edge.clock.now += 1
        browser.client.cookies.set(SESSION, value, domain="mcp.example")
        assert (await browser.visit("/apps")).heading == "Sign in"


@pytest.mark.parametrize("value", ["", "x", "A" * 42, "A" * 44, "A" * 42 + "/", "../../" + "A" * 37, "é" * 43])
async def test_a_cookie_that_we_never_set_is_nobodys(value: str) -> None:
    async with deploy().visitor() as browser:
        for name in (SESSION, BINDING):
            response = await browser.client.get("/apps", headers=[(b"cookie", f"{name}={value}".encode())])
            assert (response.status_code, response.headers["location"]) == (
                303,
                "https://mcp.example/sign-in?return=%2Fapps",
            )


async def test_of_two_cookies_of_one_name_none_counts() -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        value = await sign_in(browser)
        once = await edge.client().get("/apps", headers={"cookie": f"{SESSION}={value}"})
        twice = await edge.client().get("/apps", headers={"cookie": f"{SESSION}={value}; {SESSION}={'A' * 43}"})
        apart = await edge.client().get("/apps", headers=[("cookie", "a=b"), ("cookie", f"{SESSION}={value}")])

        assert (once.status_code, twice.status_code, apart.status_code) == (200, 303, 200)


async def test_an_old_secret_still_opens_who_is_signed_in() -> None:
    edge = deploy()
    (old,) = edge.platform.settings.secret_keys
    async with edge.visitor() as browser:
        value = await sign_in(browser)
        cookie = {"cookie": f"{SESSION}={value}"}
        newer = edge.instance(secret_keys=(type(old)("n" * 64), old))
        stranger = edge.instance(secret_keys=(type(old)("s" * 64),))

        assert (await newer.client().get("/apps", headers=cookie)).status_code == 200
        assert (await stranger.client().get("/apps", headers=cookie)).status_code == 303


async def test_who_signed_in_in_another_way_must_sign_in_again(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        cookie = {"cookie": f"{SESSION}={await sign_in(browser)}"}
        by_keys = edge.instance(identity="keys", keys={"alice": "0" * 64})

        assert (await edge.client().get("/apps", headers=cookie)).status_code == 200
        assert (await by_keys.client().get("/apps", headers=cookie)).status_code == 303


async def test_any_instance_serves_any_step(everywhere: Deploy) -> None:
    edge = everywhere()
    async with edge.visitor() as browser:
        apps = [edge.app, edge.instance().app]

        async def in_turns(scope: object, receive: object, send: object) -> None:
            apps.append(apps.pop(0))
            await apps[0](scope, receive, send)  # type: ignore[arg-type] # as the server calls it

        async with Visitor(in_turns, edge.url, looks=edge.look) as routed:
            assert (await authorize(routed))["scope"] == "notes:read notes:write"
        assert (await browser.visit("/apps")).heading == "Sign in"
