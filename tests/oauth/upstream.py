"""A GitHub of the test's own, which opens no socket: who is signed in there is what the test says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from pydantic import SecretStr

from tests.oauth.deployment import Deploy, Deployment, deploy
from tests.support.visitor import Page, Visitor

BASE_URL = "https://github.example"


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
            **settings,
        }
        return on(http=self.client, **told)

    async def back(self, browser: Visitor, page: Page, **told: str) -> Page:
        """Send the browser that has left for GitHub with `page` back: with a code, unless `told` says otherwise."""
        return await browser.visit(self.returning(page, **told), site="cross-site")

    @staticmethod
    def returning(page: Page, **told: str) -> str:
        """The URL to which GitHub would send that browser."""
        assert page.left.startswith(f"{BASE_URL}/login/oauth/authorize?"), page.left
        sent = parse_qs(urlsplit(page.left).query)
        return f"{sent['redirect_uri'][0]}?{urlencode({**(told or {'code': 'a-code'}), 'state': sent['state'][0]})}"

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == "github.example", request.url
        self.asked.append(request.url.path)
        body: dict[str, Any]
        if request.url.path == "/login/oauth/access_token":
            body = {"access_token": "gho_upstream", "token_type": "bearer", "scope": ""}
        else:
            body = {"id": self.number, "login": self.login}
        return httpx.Response(self.status, content=json.dumps(body), headers={"content-type": "application/json"})
