"""What only a browser decides: how it keeps our cookies, what Back and a second answer do, and what a web client may do
from an origin of its own.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser

from tests.clients.oauth.callback import Callback
from tests.clients.oauth.links import link
from tests.clients.oauth.person import Person
from tests.support import browser as support
from tests.support.certificate import self_signed
from tests.support.fleet import Fleet

pytestmark = pytest.mark.anyio

APP = "tests.clients.oauth.server:create_server"
WEB_CLIENT_ASKS = """async ([server, callback]) => {
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    const refused = await fetch(server + '/mcp', { method: 'POST', headers, body: '{}' });
    const [, metadata] = refused.headers.get('www-authenticate').match(/resource_metadata="([^"]+)"/);
    const resource = await (await fetch(metadata)).json();
    const where = resource.authorization_servers[0] + '/.well-known/oauth-authorization-server';
    const found = await (await fetch(where, { headers: { 'mcp-protocol-version': '2025-11-25' } })).json();
    const body = JSON.stringify({
        client_name: 'A web client', redirect_uris: [callback], token_endpoint_auth_method: 'none',
    });
    const client = await (await fetch(found.registration_endpoint, { method: 'POST', headers, body })).json();
    const url = new URL(found.authorization_endpoint);
    const verifier = 'v'.repeat(43);
    const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
    const challenge = btoa(String.fromCharCode(...new Uint8Array(hash)))
        .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
    url.search = new URLSearchParams({
        response_type: 'code', client_id: client.client_id, redirect_uri: callback, state: 's',
        code_challenge: challenge, code_challenge_method: 'S256', resource: resource.resource,
        scope: resource.scopes_supported.join(' '),
    });
    return { url: url.href, client: client.client_id, verifier, token: found.token_endpoint, mcp: resource.resource };
}"""
WEB_CLIENT_CALLS = """async ([asked, query, callback]) => {
    const form = new URLSearchParams({
        grant_type: 'authorization_code', code: new URLSearchParams(query).get('code'), client_id: asked.client,
        redirect_uri: callback, code_verifier: asked.verifier, resource: asked.mcp,
    });
    const tokens = await (await fetch(asked.token, { method: 'POST', body: form })).json();
    const headers = {
        authorization: 'Bearer ' + tokens.access_token, 'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
    };
    const ask = async (method, params, id) => {
        const body = JSON.stringify({ jsonrpc: '2.0', ...(id ? { id } : {}), method, params });
        return fetch(asked.mcp, { method: 'POST', headers, body });
    };
    const clientInfo = { name: 'web', version: '1' };
    const opened = await ask('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }, 1);
    headers['mcp-session-id'] = opened.headers.get('mcp-session-id');
    headers['mcp-protocol-version'] = '2025-11-25';
    await ask('notifications/initialized', {});
    const answer = await (await ask('tools/call', { name: 'whoami', arguments: {} }, 2)).json();
    return { expires_in: tokens.expires_in, scope: tokens.scope, answer: answer.result.content[0].text };
}"""


async def test_on_loopback_cookies_are_plain_but_unseen_by_scripts_and_other_sites(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    await person.allow((await link(fleet.url, callback.url)).path)
    port = fleet.url.rpartition(":")[2]
    plain = {"domain": "127.0.0.1", "path": "/", "httpOnly": True, "secure": False, "sameSite": "Lax"}
    assert [
        {name: value for name, value in cookie.items() if name not in ("value", "expires")}
        for cookie in await person.profile.context.cookies()
    ] == [{"name": f"mcp-browser-{port}", **plain}, {"name": f"mcp-session-{port}", **plain}]


async def test_over_tls_cookies_are_locked_to_the_host_and_the_way_back_leads_to_loopback(
    chromium: Browser, callback: Callback, tmp_path: Path
) -> None:
    store = f"sqlite:{tmp_path / 'tls.db'}"
    with Fleet(app=APP, store=store, auth="oauth", tls=self_signed(tmp_path)) as fleet:
        async with support.profile(chromium, any_certificate=True) as profile:
            person = Person(profile, fleet.url, "ada")
            asked = await link(fleet.url, callback.url)
            await person.allow(asked.path)
            assert (await callback.result())["iss"] == fleet.url
            locked = {"domain": "localhost", "path": "/", "httpOnly": True, "secure": True, "sameSite": "Lax"}
            assert [
                {name: value for name, value in cookie.items() if name not in ("value", "expires")}
                for cookie in await profile.context.cookies()
            ] == [{"name": name, **locked} for name in ("__Host-mcp-browser", "__Host-mcp-session")]
            assert profile.complaints(fleet.url) == []


async def test_a_web_client_is_authorized_in_a_popup_and_calls_from_its_own_origin(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    page = await person.profile.page()
    await page.goto(callback.url.removesuffix("/callback"))
    asked = await page.evaluate(WEB_CLIENT_ASKS, [fleet.url, callback.url])
    async with page.expect_popup() as opened:
        await page.evaluate("url => void window.open(url, 'authorize', 'popup')", asked["url"])
    popup = await opened.value
    await person.press(popup, "Allow")
    await person.come_in(popup)
    assert popup.url.startswith(callback.url)
    (complaint,) = person.profile.complaints(fleet.url)  # of the refusal with which it began
    assert "401" in complaint
    person.profile.heard.clear()
    came_with = await popup.evaluate("window.opener.name = location.search")  # its opener is still there, and its own
    assert await page.evaluate(WEB_CLIENT_CALLS, [asked, came_with, callback.url]) == {
        "expires_in": 3600,
        "scope": "page:read page:write",
        "answer": person.name,
    }


async def test_back_after_consent_shows_the_page_and_repeats_nothing(
    person: Person, fleet: Fleet, callback: Callback
) -> None:
    await (await person.apps()).close()
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    await person.press(page, "Allow")
    tokens = await asked.redeem(await callback.result())
    await page.go_back()
    assert await page.get_by_role("button", name="Allow", exact=True).count() == 1
    assert len(callback.arrivals) == 1
    async with httpx.AsyncClient() as client:
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        assert (await client.get(f"{fleet.url}/mcp", headers=headers)).status_code != 401


async def test_back_to_a_sign_in_that_is_done_leads_nowhere(person: Person, fleet: Fleet, callback: Callback) -> None:
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    await person.press(page, "Allow")
    await person.come_in(page)
    assert len(callback.arrivals) == 1
    await page.go_back()
    assert await page.get_by_role("button", name="Allow", exact=True).count() == 1
    await page.go_back()
    assert await page.get_by_role("alert").inner_text() == (
        "This was begun in another browser, or is no longer valid. Start again from your app."
    )
    assert len(callback.arrivals) == 1
    (complaint,) = person.profile.complaints(fleet.url)  # Chromium notes the status of any page that is an error
    assert "403" in complaint
    person.profile.heard.clear()


async def test_a_page_is_answered_once(person: Person, fleet: Fleet, callback: Callback) -> None:
    await (await person.apps()).close()
    asked = await link(fleet.url, callback.url)
    page = await person.open(asked.path)
    answered = await page.locator("input[name=flow]").first.input_value()
    await person.press(page, "Allow")
    assert len(callback.arrivals) == 1
    page = await person.open(f"{asked.path}&prompt=consent")
    await page.locator("form:has(button.main) input[name=flow]").evaluate("(e, flow) => (e.value = flow)", answered)
    await person.press(page, "Allow")
    assert await page.get_by_role("alert").inner_text() == (
        "This was already answered. If your app still waits, start again from there."
    )
    assert len(callback.arrivals) == 1
    (complaint,) = person.profile.complaints(fleet.url)  # Chromium notes the status of any page that is an error
    assert "400" in complaint
    person.profile.heard.clear()
