"""A GitHub of the test's own, which opens no socket: who is signed in there is what the test says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from pydantic import SecretStr

from mcp_edge.auth.identity.linked_accounts import LinkedAccounts
from mcp_edge.auth.identity.provider import RedirectProvider
from mcp_edge.protocol.keyring import KeyRing
from tests.auth.server.deployment import Deploy, Deployment, confirm, deploy
from tests.support.visitor import Page, Visitor

BASE_URL = "https://github.example"
UPSTREAM = "gho_upstream"
"""The access token that it gives."""
OCTOCAT = f"{BASE_URL}||583231"
"""The principal of its user."""


async def account_of(edge: Deployment, principal: str = OCTOCAT, issuer: str = BASE_URL) -> str | None:
    """The token of the user's account at the GitHub of this name, as it is kept."""
    ring = KeyRing([key.get_secret_value() for key in edge.platform.settings.secret_keys])
    provider = cast("RedirectProvider", SimpleNamespace(issuer=issuer))  # it is asked for nothing else
    return await LinkedAccounts(edge.platform, ring, provider).token(principal)


@dataclass
class GitHub:
    """Its token endpoint and its API."""

    login: str = "octocat"
    number: int = 583231
    status: int = 200
    """Of every answer."""
    asked: list[str] = field(default_factory=list[str])
    """Paths, in order."""

    def client(self) -> httpx.AsyncClient:
        """A client that reaches this GitHub and nothing else."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def deploy(self, on: Deploy = deploy, **settings: Any) -> Deployment:
        """A server that signs its users in here, made by `on`."""
        told: dict[str, Any] = {
            "identity": "github",
            "identity_issuer": BASE_URL,
            "identity_client_id": "us",
            "identity_client_secret": SecretStr("ours"),
            "allowed_users": ("*",),
            "http": self.client,
            **settings,
        }
        return on(**told)

    async def back(self, browser: Visitor, page: Page, **told: str) -> Page:
        """Send the browser that has left for GitHub with `page` back: with a code, unless `told` says otherwise. Allow
        what the user is asked who has signed in by that."""
        return await confirm(browser, await browser.visit(self.returning(page, **told), site="cross-site"))

    @staticmethod
    def returning(page: Page, **told: str) -> str:
        """The URL to which GitHub would send that browser."""
        assert "/login/oauth/authorize?" in page.left, page.left
        sent = parse_qs(urlsplit(page.left).query)
        return f"{sent['redirect_uri'][0]}?{urlencode({**(told or {'code': 'a-code'}), 'state': sent['state'][0]})}"

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == "github.example", request.url
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What it answers, under whatever name it is reached."""
        self.asked.append(request.url.path)
        body: dict[str, Any]
        if request.url.path == "/login/oauth/access_token":
            body = {"access_token": UPSTREAM, "token_type": "bearer", "scope": ""}
        else:
            body = {"id": self.number, "login": self.login}
        return httpx.Response(self.status, content=json.dumps(body), headers={"content-type": "application/json"})
