"""One client's authorization at a server, from the challenge to the revocation, for every wrapper to hold.

A wrapper is an address; `play` may be run any number of times, each with a user of its own. It knows no wrapper.
"""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from typing import Any

import httpx

from mcp_edge.auth.server.browser.arming import ARM_S
from tests.auth.server.deployment import Asking, redeem
from tests.support.visitor import Page, Visitor

APP = "tests.clients.oauth.server:create_server"
"""The server under test."""
PUBLIC_URL = "https://mcp.example.com"
KEYS = {"ada": "key-of-ada", "bea": "key-of-bea"}
DIGESTS = {name: sha256(f"{PUBLIC_URL}\n{key}".encode()).hexdigest() for name, key in KEYS.items()}
SETTINGS = {
    "auth": "oauth",
    "identity": "keys",
    "public_url": PUBLIC_URL,
    "keys": ",".join(f"{name}:{digest}" for name, digest in DIGESTS.items()),
}
"""What the server under test must be set to."""
REDIRECT = "http://127.0.0.1:33418/callback"
REMAPPED = "x-amzn-remapped-www-authenticate"
DEADLINE_S = 30
PLANTED = (b"\xa0%s", b"\x85%s", b"%s\xa0", b"%s\x85", "\xa0%s".encode(), "%s\x85".encode())
"""Names of cookies, made of one of ours, that a sibling host may set and that are therefore not ours."""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "authorization", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Front(httpx.AsyncBaseTransport):
    """The public URL, reached where the wrapper's front listens."""

    def __init__(self, address: str, *, any_certificate: bool = False) -> None:
        self._address = httpx.URL(address)
        self._inner = httpx.AsyncHTTPTransport(verify=not any_certificate)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it there; its Host stays the public one."""
        url = request.url.copy_with(scheme=self._address.scheme, host=self._address.host, port=self._address.port)
        content = await request.aread()
        answer = await self._inner.handle_async_request(
            httpx.Request(request.method, url, headers=request.headers, content=content, extensions=request.extensions)
        )
        await answer.aread()
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def look() -> None:
    """Be as slow as a person: the clock of a server elsewhere is not ours to move."""
    await asyncio.sleep(ARM_S)


def play(address: str, user: str, *, racers: int = 20) -> None:
    """Hold the conversation, as the user of this name, with what is served at `address`. `racers` redeem one code at
    once."""
    asyncio.run(_play(address, user, racers))


def authorized(address: str, user: str) -> str:
    """An access token of the user, for /mcp."""

    async def walk() -> str:
        async with Visitor(Front(address), PUBLIC_URL, looks=look) as browser:
            browser.client.timeout = DEADLINE_S
            asking = Asking(client_id=await _register(browser.client, user), redirect_uri=REDIRECT)
            return (await redeem(browser.client, asking, await _allowed(browser, asking, user)))["access_token"]

    return asyncio.run(walk())


def opened(address: str, token: str) -> str:
    """The id of a new session of revision 2025-11-25."""
    client = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "authorization", "version": "1"},
    }
    return _post(address, token, "initialize", client).headers["mcp-session-id"]


def ping(address: str, token: str, session: str) -> None:
    """A call in the session."""
    _post(address, token, "ping", {}, {"mcp-session-id": session})


def _post(
    address: str, token: str, method: str, params: dict[str, Any], headers: dict[str, str] | None = None
) -> httpx.Response:
    fields = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream", **(headers or {})}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    fields["host"] = httpx.URL(PUBLIC_URL).host
    answer = httpx.post(f"{address}/mcp", json=message, headers=fields, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    return answer


async def _play(address: str, user: str, racers: int) -> None:
    async with Visitor(Front(address), PUBLIC_URL, looks=look) as browser:
        client = browser.client
        client.timeout = DEADLINE_S
        await _discover(client)
        client_id = await _register(client, user)
        asking = Asking(client_id=client_id, redirect_uri=REDIRECT, state=f"state of {user}")
        first = await redeem(client, asking, await _allowed(browser, asking, user))
        assert await _whoami(client, first["access_token"]) == user
        second = await _refreshed(client, client_id, first["refresh_token"])
        assert await _refreshed(client, client_id, first["refresh_token"]) | {"expires_in": 0} == second | {
            "expires_in": 0
        }, "a lost answer is given again"
        assert await _whoami(client, second["access_token"]) == user
        await _planted(browser)
        await _race(browser, client_id, racers)
        await _revoke(client, client_id, second["refresh_token"])


async def _discover(client: httpx.AsyncClient) -> None:
    """From the challenge to both metadata documents."""
    challenged = await _call(client, None)
    told = challenged.headers.get("www-authenticate") or challenged.headers[REMAPPED]
    assert (challenged.status_code, "error=" in told) == (401, False)
    assert f'resource_metadata="{PUBLIC_URL}/.well-known/oauth-protected-resource/mcp"' in told
    resource = (await client.get("/.well-known/oauth-protected-resource/mcp")).json()
    assert (resource["resource"], resource["authorization_servers"]) == (f"{PUBLIC_URL}/mcp", [PUBLIC_URL])
    server = (await client.get("/.well-known/oauth-authorization-server")).json()
    assert (server["issuer"], server["token_endpoint"]) == (PUBLIC_URL, f"{PUBLIC_URL}/token")


async def _register(client: httpx.AsyncClient, user: str) -> str:
    document = {"client_name": f"The app of {user}", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
    answer = await client.post("/register", json=document)
    assert answer.status_code == 201, answer.text
    return answer.json()["client_id"]


async def _allowed(browser: Visitor, asking: Asking, user: str) -> str:
    """The code, after consent and sign-in."""
    page = await browser.visit("/authorize", **asking.query, resource=f"{PUBLIC_URL}/mcp")
    assert (page.status, f"The app of {user}" in page.text) == (200, True), page.text
    page = await browser.press(page, "Allow")
    page = await browser.press(page, "Sign in", type_in={"value": KEYS[user]})
    assert f"You {user} Not you?" in page.text.replace("\n", " "), page.text
    page = await browser.press(page, "Allow")
    return _code(page, asking)


def _code(page: Page, asking: Asking) -> str:
    assert page.left.startswith(REDIRECT), page.text
    assert (page.answer["state"], page.answer["iss"]) == (asking.state, PUBLIC_URL)
    return page.answer["code"]


async def _whoami(client: httpx.AsyncClient, token: str) -> str:
    answer = await _call(client, token)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]["structuredContent"]["result"]


async def _call(client: httpx.AsyncClient, token: str | None) -> httpx.Response:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "whoami", "arguments": {}, "_meta": META},
    }
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "whoami",
        **({} if token is None else {"authorization": f"Bearer {token}"}),
    }
    return await client.post("/mcp", content=json.dumps(message), headers=headers)


async def _refresh(client: httpx.AsyncClient, client_id: str, token: str) -> httpx.Response:
    data = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
    return await client.post("/token", data=data)


async def _refreshed(client: httpx.AsyncClient, client_id: str, token: str) -> dict[str, Any]:
    answer = await _refresh(client, client_id, token)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _planted(browser: Visitor) -> None:
    """A cookie of another name signs nobody in, and who is signed in does not notice it."""
    value = browser.cookie("__Host-mcp-session").encode()
    true = b"__Host-mcp-session=" + value
    for name in PLANTED:
        planted = b"%s=%s" % (name % b"__Host-mcp-session", value)
        cookies = (planted, planted + b"; " + true, true + b"; " + planted)
        answers = [await _bare(browser.client, [(b"cookie", cookie)]) for cookie in cookies]
        assert answers == [303, 200, 200], (name, answers)


async def _bare(client: httpx.AsyncClient, headers: list[tuple[bytes, bytes]]) -> int:
    """The status of /apps for a browser whose cookies are these alone."""
    request = client.build_request("GET", "/apps")
    request.headers = httpx.Headers([*((n, v) for n, v in request.headers.raw if n.lower() != b"cookie"), *headers])
    return (await client.send(request)).status_code


async def _race(browser: Visitor, client_id: str, racers: int) -> None:
    """One code, redeemed by many at once: at most one gets tokens, and as it was used again, those are ended."""
    asking = Asking(client_id=client_id, redirect_uri=REDIRECT)
    page = await browser.visit("/authorize", **asking.query, resource=f"{PUBLIC_URL}/mcp")
    page = page if page.left else await browser.press(page, "Allow")
    data = {
        "grant_type": "authorization_code",
        "code": _code(page, asking),
        "client_id": client_id,
        "redirect_uri": REDIRECT,
        "code_verifier": asking.verifier,
    }
    answers = await asyncio.gather(*(browser.client.post("/token", data=data) for _ in range(racers)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    lost = [answer.json()["error"] for answer in answers if answer.status_code == 400]
    assert (len(won) <= 1, len(won) + len(lost), set(lost)) == (True, racers, {"invalid_grant"})
    for tokens in won:
        ended = await _refresh(browser.client, client_id, tokens["refresh_token"])
        assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")


async def _revoke(client: httpx.AsyncClient, client_id: str, token: str) -> None:
    """The refresh token is ended at once, on every host; its access tokens where no cache is in front of the store."""
    answer = await client.post("/revoke", data={"token": token, "client_id": client_id})
    assert answer.status_code == 200, answer.text
    ended = await _refresh(client, client_id, token)
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")
