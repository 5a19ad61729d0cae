"""Two GitHubs, one where users sign in and one where they connect an account, and how they are sent there."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
from pydantic import SecretStr

from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.routes import ServerRoutes
from tests.auth.server.deployment import Deploy, Deployment
from tests.auth.server.upstream import OCTOCAT, GitHub
from tests.support.visitor import Page, Visitor

THERE = "https://other.example"


@dataclass
class TwoGitHubs:
    """See the module."""

    identity: GitHub = field(default_factory=GitHub)
    there: GitHub = field(default_factory=GitHub)

    def deploy(self, on: Deploy) -> Deployment:
        """A server of both, made by `on`."""
        return self.identity.deploy(
            on,
            http=self.client,
            upstream_account="connect",
            connect_provider="github",
            connect_issuer=THERE,
            connect_client_id="us-there",
            connect_client_secret=SecretStr("ours-there"),
        )

    def client(self) -> httpx.AsyncClient:
        """A client that reaches both."""

        def answer(request: httpx.Request) -> httpx.Response:
            return (self.there if request.url.host == "other.example" else self.identity).answer(request)

        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    async def sign_in(self, browser: Visitor) -> None:
        """Sign in at the one."""
        away = await browser.press(await browser.visit("/apps"), "Continue with GitHub")
        assert (await self.identity.back(browser, away)).heading == "Connected apps"


async def leave(edge: Deployment, browser: Visitor) -> Page:
    """Follow the link of a tool that needs an account, to the other one."""

    async def scopes() -> Scopes:
        return Scopes()

    accounts = ServerRoutes(edge.platform, scopes).accounts
    assert accounts is not None
    page = await browser.visit(await accounts.invite(OCTOCAT, ""))
    away = await browser.press(page, "Continue to GitHub")
    assert away.left.startswith(f"{THERE}/login/oauth/authorize?"), away.left
    return away
