"""A client that does no more than ask: it registers, makes the link to the consent page, and redeems the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""The pair of RFC 7636, appendix B."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a registered client sends its user to."""

    server: str
    client_id: str
    callback: str
    scope: str

    @property
    def path(self) -> str:
        """The link, without the server's own URL."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.callback,
            "state": "s",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "scope": self.scope,
        }
        return f"/authorize?{urlencode(asked)}"

    async def redeem(self, arrival: dict[str, str]) -> dict[str, Any]:
        """The tokens for what the browser has brought."""
        form = {
            "grant_type": "authorization_code",
            "code": arrival["code"],
            "client_id": self.client_id,
            "redirect_uri": self.callback,
            "code_verifier": VERIFIER,
        }
        async with httpx.AsyncClient(verify=False) as client:
            answer = await client.post(f"{self.server}/token", data=form)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def link(server: str, callback: str, *, name: str = "Scribe", scope: str = "page:read page:write") -> Link:
    """A new client's link."""
    document = {"client_name": name, "redirect_uris": [callback], "token_endpoint_auth_method": "none"}
    async with httpx.AsyncClient(verify=False) as client:
        registered = await client.post(f"{server}/register", json=document)
    assert registered.status_code == 201, registered.text
    return Link(server, registered.json()["client_id"], callback, scope)
