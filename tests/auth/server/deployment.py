"""A server with `auth=oauth` in this process, its clock in the test's hands, and the walk of a client to its tokens."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import httpx
from mcp.server.mcpserver import MCPServer
from pydantic import SecretStr

from mcp_edge.app import App, create_app
from mcp_edge.auth.scopes import Scope, declare_scopes, requires_no_scope
from mcp_edge.auth.server.browser.arming import ARM_S
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory
from mcp_edge.storage.ports import AtomicStore, RecordStore
from tests.support.clock import Clock
from tests.support.visitor import Page, Visitor

Ports = tuple[RecordStore, AtomicStore]

PUBLIC_URL = "https://mcp.example"
REDIRECT = "https://app.example/callback"
LOOPBACK = "http://127.0.0.1/callback"
CLIENT: dict[str, Any] = {
    "client_id": "app",
    "client_name": "An app",
    "redirect_uris": [REDIRECT, LOOPBACK],
}
READ = Scope("notes:read", "read your notes", read_only=True)
WRITE = Scope("notes:write", "add and change notes", implies=("notes:read",))
DELETE = Scope("notes:delete", "delete notes", on_demand=True)
SCOPES = (READ, WRITE, DELETE)
SIGNED_IN = "You are signed in now. This app has not been allowed anything yet"
STARTED_AT = 1_800_000_000.0


def create_server(scopes: tuple[Scope, ...] = SCOPES) -> Callable[[Settings], MCPServer[Any]]:
    """What makes a server of one tool that declares `scopes`."""

    def create(settings: Settings) -> MCPServer[Any]:
        del settings
        server = MCPServer(name="oauth-test")
        declare_scopes(server, *scopes)

        @server.tool(meta=requires_no_scope())
        def echo(text: str) -> str:
            """The text."""
            return text

        del echo
        return server

    return create


@dataclass
class Deployment:
    """The app, its stores and its clock."""

    app: App
    platform: Platform
    clock: Clock

    @property
    def url(self) -> str:
        """The public URL."""
        return self.platform.settings.public_url or ""

    def visitor(self, *, address: str = "127.0.0.1") -> Visitor:
        """A fresh browser."""
        return Visitor(self.app, self.url, address=address, looks=self.look)

    async def look(self) -> None:
        """Let so much time pass as a page must have been there before it is answered."""
        self.clock.advance(ARM_S)

    def client(self) -> httpx.AsyncClient:
        """A client that is no browser."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=self.url)

    def instance(self, **settings: Any) -> Deployment:
        """One more process on the same stores, perhaps with other settings."""
        told = self.platform.settings.model_copy(update=settings)
        platform = replace(self.platform, settings=told)
        return Deployment(create_app(create_server(), platform), platform, self.clock)


def deploy(
    *,
    scopes: tuple[Scope, ...] = SCOPES,
    http: Callable[[], httpx.AsyncClient] | None = None,
    stores: tuple[Ports, Clock] | None = None,
    **settings: Any,
) -> Deployment:
    """A server with `identity=dev` and one static client unless `settings` say otherwise, on memory unless there are
    `stores`, whose clock is then the server's."""
    if stores is None:
        clock = Clock(STARTED_AT)
        stores = open_memory(clock), clock
    (records, atomics), clock = stores
    told: dict[str, Any] = {
        "public_url": PUBLIC_URL,
        "auth": "oauth",
        "identity": "dev",
        "secret_keys": (SecretStr(secrets.token_hex(32)),),
        "clients": (CLIENT,),
        **settings,
    }
    platform = Platform(settings=Settings(**told), records=records, atomics=atomics, clock=clock)
    if http is not None:
        platform = replace(platform, http=http)
    return Deployment(create_app(create_server(scopes), platform), platform, clock)


@dataclass
class Asking:
    """A client that asks for authorization: the parameters of its request, to be changed at will."""

    client_id: str = "app"
    redirect_uri: str = REDIRECT
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = "a state"
    more: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def query(self) -> dict[str, str]:
        """The query of /authorize."""
        challenge = base64.urlsafe_b64encode(sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        return {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **self.more,
        }


Deploy = Callable[..., Deployment]
"""`deploy`, perhaps on certain stores."""


async def consent_page(visitor: Visitor, asking: Asking, *, site: str = "cross-site") -> Page:
    """What a client's link to /authorize shows."""
    return await visitor.visit("/authorize", site=site, **asking.query)


async def allow(
    visitor: Visitor, page: Page, *, user: str = "alice", untick: tuple[str, ...] = (), button: str = "Allow"
) -> Page:
    """Allow what the page asks; sign in as `user` if that comes next, and allow it under that name."""
    page = await visitor.press(page, button, untick=untick)
    if not page.left and page.status == 200 and page.forms and page.forms[0].blanks:
        page = await sign_in(visitor, page, user=user)
    return page


async def sign_in(visitor: Visitor, page: Page, *, user: str = "alice") -> Page:
    """Sign in on this page as `user`, and allow what that user is then asked."""
    return await confirm(visitor, await visitor.press(page, "Sign in", type_in={"value": user}))


async def confirm(visitor: Visitor, page: Page) -> Page:
    """Allow what the user is asked who has just signed in; any other page is left as it is."""
    return await visitor.press(page, "Allow") if SIGNED_IN in page.text else page


async def authorize(
    visitor: Visitor,
    asking: Asking | None = None,
    *,
    user: str = "alice",
    untick: tuple[str, ...] = (),
    button: str = "Allow",
) -> dict[str, Any]:
    """The whole walk: the document with which /token answers."""
    asking = asking or Asking()
    page = await allow(visitor, await consent_page(visitor, asking), user=user, untick=untick, button=button)
    answer = page.answer
    assert "code" in answer, answer
    return await redeem(visitor.client, asking, answer["code"])


async def redeem(client: httpx.AsyncClient, asking: Asking, code: str) -> dict[str, Any]:
    """The tokens for a code of a public client."""
    response = await exchange(client, asking, code)
    assert response.status_code == 200, response.text
    return json.loads(response.text)


async def exchange(client: httpx.AsyncClient, asking: Asking, code: str) -> httpx.Response:
    """What a public client is answered that sends its code."""
    return await client.post(
        "/token",
        data={
            "grant_type": "authorization_code",
            "code": code,
            "client_id": asking.client_id,
            "redirect_uri": asking.redirect_uri,
            "code_verifier": asking.verifier,
        },
    )
