"""The official Python client with its own authorization, as an application has it: a wallet that outlives it, an
address for the browser, and a person who follows its links.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.clients.oauth.callback import Callback
from tests.clients.oauth.person import Person
from tests.clients.python_client import HTTP_SSE, Peer, launched
from tests.support.fleet import Fleet

NAME = "Scribe"


@dataclass(slots=True)
class Wallet:
    """What the application keeps between two runs."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@dataclass(slots=True)
class Application:
    """A program that connects when it wants to, and sends its user to the browser when it has to."""

    fleet: Fleet
    callback: Callback
    answer: Callable[[str], Awaitable[None]]
    """What the user does with a link: `person.allow`, for one."""
    wallet: Wallet = field(default_factory=Wallet)
    document: str | None = None
    """The URL of its client metadata document, if it has one."""
    asked: list[str] = field(default_factory=list[str])
    """The scopes that it asked the user for, each time."""
    provider: OAuthClientProvider | None = None

    @asynccontextmanager
    async def connected(self, version: str) -> AsyncGenerator[Peer]:
        """The client on the wire of `version`."""
        path = "/sse" if version == HTTP_SSE else "/mcp"
        self.provider = OAuthClientProvider(
            self.fleet.url + path,
            OAuthClientMetadata(client_name=NAME, redirect_uris=[AnyUrl(self.callback.url)]),
            self.wallet,
            self._redirect,
            self._result,
            client_metadata_url=self.document,
        )
        assert self.fleet.proxy is not None
        since = len(self.fleet.proxy.exchanges)
        if version == HTTP_SSE:
            async with launched(sse_client(self.fleet.url + path, auth=self.provider), version) as peer:
                yield Peer(peer.client, peer.told, self.fleet.proxy, since)
            return
        async with httpx2.AsyncClient(auth=self.provider) as http:
            transport = streamable_http_client(self.fleet.url + path, http_client=http)
            async with launched(transport, version) as peer:
                yield Peer(peer.client, peer.told, self.fleet.proxy, since)

    def expire(self) -> None:
        """Let the client believe that its access token is too old."""
        assert self.provider is not None
        self.provider.context.token_expiry_time = time.time() - 1

    async def _redirect(self, url: str) -> None:
        self.asked.append(parse_qs(urlsplit(url).query)["scope"][0])
        await self.answer(url)

    async def _result(self) -> AuthorizationCodeResult:
        result = await self.callback.result()
        return AuthorizationCodeResult(code=result.get("code", ""), state=result["state"], iss=result["iss"])


def application(fleet: Fleet, callback: Callback, person: Person) -> Application:
    """One whose user agrees to everything."""
    return Application(fleet, callback, person.allow)
