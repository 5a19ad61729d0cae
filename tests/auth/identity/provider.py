"""The real OpenID Connect provider of provider.mjs, and what a user's browser does there."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

from tests.support.node import node_command

SCRIPT = Path(__file__).with_name("provider.mjs")
CLIENT: dict[str, Any] = {
    "client_id": "mcp",
    "client_secret": "a secret: of +the tests%",
    "redirect_uris": ["https://mcp.example/oauth/callback", "https://mcp.example/oauth/connected"],
    "grant_types": ["authorization_code", "refresh_token"],
}


@dataclass
class Provider:
    """A process of it: `with Provider() as provider:`. `settings` are those of provider.mjs."""

    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    issuer: str = ""
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        told = json.dumps({"clients": [CLIENT], **self.settings})
        command = [*node_command(), str(SCRIPT), told]
        self._process = subprocess.Popen(command, cwd=SCRIPT.parent, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.issuer = json.loads(self._process.stdout.readline())["issuer"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Be down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    @property
    def name(self) -> str:
        """As our pages call it."""
        return urlsplit(self.issuer).netloc

    def settings_of_server(self, **more: Any) -> dict[str, Any]:
        """Settings of a server whose users sign in here."""
        return {
            "identity": "oidc",
            "identity_issuer": self.issuer,
            "identity_client_id": CLIENT["client_id"],
            "identity_client_secret": CLIENT["client_secret"],
            "allowed_users": ("*",),
            **more,
        }

    async def post(self, path: str) -> None:
        """Have something happen: `/rotate`, `/revoke`."""
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(self.issuer + path)).status_code == 200

    async def answer(self, url: str, answer: str) -> str:
        """What a browser, sent here by `url`, is sent back to when its user gives this `answer`: `login=alice`."""
        async with httpx.AsyncClient(trust_env=False) as browser:
            for _ in range(10):
                response = await browser.get(url)
                if response.is_redirect:
                    url = urljoin(url, response.headers["location"])
                    if not url.startswith(self.issuer):
                        return url
                else:
                    assert response.text == "who are you?", f"{response.status_code} {response.text}"
                    parts = urlsplit(url)
                    url = f"{parts.scheme}://{parts.netloc}{parts.path}/finish?{answer}"
        raise AssertionError("redirects without end")
