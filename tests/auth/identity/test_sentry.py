"""A Sentry account is its number; who of them is let in; and where a Sentry of one's own is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from pytest_httpx import HTTPXMock

from mcp_edge.auth.identity.admission import Admission
from mcp_edge.auth.identity.provider import Identity, SignInRefused, TokenSet
from mcp_edge.auth.identity.sentry import Sentry
from mcp_edge.errors import UpstreamError
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.user import User

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
CALLBACK = "https://mcp.example/oauth/callback"
ANSWER: dict[str, Any] = {
    "access_token": "access",
    "refresh_token": "refresh",
    "expires_in": 2591999,
    "expires_at": "2027-02-14T08:00:00.000000Z",
    "token_type": "bearer",
    "scope": "org:read project:read",
    "user": {"id": "123", "name": "Jane Doe", "email": "jane@acme.test"},
}
ME = {"id": "123", "emails": [{"id": "1", "email": "jane@acme.test", "is_verified": True}]}
TOKENS = TokenSet("access", "refresh", NOW + 2591999, "org:read project:read")


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with httpx.AsyncClient() as client:
        yield Platform(Settings(), MemoryRecords(), MemoryAtomics(), http=lambda: client, clock=lambda: NOW)


def sentry(platform: Platform, *allowed: str, **more: Any) -> Sentry:
    return Sentry(platform, client_id="id", client_secret="s3cret", admission=Admission(allowed or ("*",)), **more)


async def sign_in(provider: Sentry) -> Identity:
    departure = await provider.depart(state="state", callback=CALLBACK)
    return await provider.arrive({"code": "code"}, departure.secrets, callback=CALLBACK)


@pytest.mark.parametrize("base_url", ["https://sentry.io", "https://sentry.acme.test"], ids=["hosted", "one's own"])
async def test_the_answer_to_the_code_names_the_account(
    platform: Platform, httpx_mock: HTTPXMock, base_url: str
) -> None:
    httpx_mock.add_response(url=f"{base_url}/oauth/token/", json=ANSWER)
    provider = sentry(platform, base_url=base_url, scopes=("org:read", "project:read"))
    departure = await provider.depart(state="the state", callback=CALLBACK)
    endpoint, _, query = departure.url.partition("?")

    identity = await provider.arrive({"code": "the code"}, departure.secrets, callback=CALLBACK)

    asked = dict(parse_qsl(query))
    assert (endpoint, asked["scope"], asked["state"], asked["code_challenge_method"]) == (
        f"{base_url}/oauth/authorize/",
        "org:read project:read",
        "the state",
        "S256",
    )
    assert identity == Identity(User(issuer=base_url, subject="123", name="Jane Doe"), TOKENS)
    assert dict(parse_qsl(httpx_mock.get_requests()[0].content.decode())) == {
        "grant_type": "authorization_code",
        "client_id": "id",
        "client_secret": "s3cret",
        "code": "the code",
        "redirect_uri": CALLBACK,
        "code_verifier": departure.secrets["verifier"],
    }


@pytest.mark.parametrize(
    ("me", "let_in"),
    [
        (ME, True),
        ({**ME, "emails": [{"email": "jane@acme.test", "is_verified": False}]}, False),
        ({**ME, "id": "124"}, False),
        ({"id": "123"}, False),
    ],
    ids=["verified", "unverified", "another account", "no addresses"],
)
async def test_only_an_address_that_sentry_has_verified_counts(
    platform: Platform, httpx_mock: HTTPXMock, me: dict[str, Any], let_in: bool
) -> None:
    httpx_mock.add_response(url="https://sentry.io/oauth/token/", json=ANSWER)
    httpx_mock.add_response(url="https://sentry.io/api/0/users/me/", json=me)
    provider = sentry(platform, "@acme.test")
    if let_in:
        assert (await sign_in(provider)).user.subject == "123"
    else:
        with pytest.raises(SignInRefused):
            await sign_in(provider)


@pytest.mark.parametrize("user", [None, {}, {"id": 123}, {"id": "12a"}, {"id": ""}, {"id": "1" * 33}, "123"])
async def test_an_answer_that_names_no_account_signs_nobody_in(
    platform: Platform, httpx_mock: HTTPXMock, user: Any
) -> None:
    httpx_mock.add_response(url="https://sentry.io/oauth/token/", json={**ANSWER, "user": user})

    with pytest.raises(UpstreamError, match="expected form"):
        await sign_in(sentry(platform))


async def test_tokens_are_renewed(platform: Platform, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url="https://sentry.io/oauth/token/", json={**ANSWER, "access_token": "new"})

    fresh = await sentry(platform).refresh(TokenSet("old", "refresh"))

    assert fresh == TokenSet("new", "refresh", NOW + 2591999, "org:read project:read")
    assert dict(parse_qsl(httpx_mock.get_requests()[0].content.decode())) == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh",
        "client_id": "id",
        "client_secret": "s3cret",
    }
