"""A GitHub account is its number, whatever it calls itself; and who of them is let in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import httpx
import pytest
from pytest_httpx import HTTPXMock

from mcp_edge.auth.identity.admission import Admission
from mcp_edge.auth.identity.github import GitHub
from mcp_edge.auth.identity.provider import Identity, SignInRefused, TokenSet
from mcp_edge.errors import UpstreamError
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.user import User

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
CALLBACK = "https://mcp.example/oauth/callback"
TOKEN = {"access_token": "gho_16C7e42F292c6912E7710c838347Ae178B4a", "scope": "", "token_type": "bearer"}
OCTOCAT = {"login": "octocat", "id": 583231, "type": "User", "name": "The Octocat", "email": "octocat@github.test"}
EMAILS = [
    {"email": "octocat@acme.test", "verified": True, "primary": True, "visibility": "public"},
    {"email": "octocat@evil.test", "verified": False, "primary": False, "visibility": None},
]


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with httpx.AsyncClient() as client:
        yield Platform(Settings(), MemoryRecords(), MemoryAtomics(), http=lambda: client, clock=lambda: NOW)


def github(platform: Platform, *allowed: str, **more: Any) -> GitHub:
    admission = Admission(allowed or ("*",))
    return GitHub(platform, client_id="Iv1.1", client_secret="s3cret", admission=admission, **more)


async def sign_in(provider: GitHub, **query: str) -> Identity:
    departure = await provider.depart(state="state", callback=CALLBACK)
    return await provider.arrive({"code": "code", **query}, departure.secrets, callback=CALLBACK)


async def test_a_sign_in_asks_for_no_scope_and_names_the_account_by_its_number(
    platform: Platform, httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json=TOKEN)
    httpx_mock.add_response(
        url="https://api.github.com/user",
        match_headers={"authorization": f"Bearer {TOKEN['access_token']}"},
        json=OCTOCAT,
    )
    provider = github(platform)
    departure = await provider.depart(state="the state", callback=CALLBACK)
    endpoint, _, query = departure.url.partition("?")

    identity = await provider.arrive({"code": "the code"}, departure.secrets, callback=CALLBACK)

    asked = dict(parse_qsl(query))
    challenge = asked.pop("code_challenge")
    assert (endpoint, asked, len(challenge)) == (
        "https://github.com/login/oauth/authorize",
        {
            "response_type": "code",
            "client_id": "Iv1.1",
            "redirect_uri": CALLBACK,
            "state": "the state",
            "code_challenge_method": "S256",
        },
        43,
    )
    assert identity == Identity(
        User(issuer="https://github.com", subject="583231", name="octocat"), TokenSet(TOKEN["access_token"])
    )
    assert dict(parse_qsl(httpx_mock.get_requests()[0].content.decode())) == {
        "grant_type": "authorization_code",
        "client_id": "Iv1.1",
        "client_secret": "s3cret",
        "code": "the code",
        "redirect_uri": CALLBACK,
        "code_verifier": departure.secrets["verifier"],
    }


@pytest.mark.parametrize(
    ("base_url", "api"),
    [
        ("https://github.acme.test", "https://github.acme.test/api/v3/user"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com/user"),
    ],
    ids=["Enterprise Server", "data residency"],
)
async def test_a_github_enterprise_has_users_of_its_own(
    platform: Platform, httpx_mock: HTTPXMock, base_url: str, api: str
) -> None:
    httpx_mock.add_response(url=f"{base_url}/login/oauth/access_token", json=TOKEN)
    httpx_mock.add_response(url=api, json=OCTOCAT)

    assert (await sign_in(github(platform, base_url=base_url))).user.principal == f"{base_url}||583231"


@pytest.mark.parametrize(
    ("allowed", "let_in"),
    [
        ("583231", True),
        ("login:octocat", True),
        ("login:OctoCat", True),
        ("octocat", False),
        ("login:583231", False),
        ("login:octo", False),
    ],
)
async def test_a_login_name_counts_only_where_the_list_says_that_it_is_one(
    platform: Platform, httpx_mock: HTTPXMock, allowed: str, let_in: bool
) -> None:
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json=TOKEN)
    httpx_mock.add_response(url="https://api.github.com/user", json=OCTOCAT)
    if let_in:
        assert (await sign_in(github(platform, allowed))).user.subject == "583231"
    else:
        with pytest.raises(SignInRefused):
            await sign_in(github(platform, allowed))


async def test_a_login_name_of_digits_is_not_somebody_s_number(platform: Platform, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json=TOKEN)
    httpx_mock.add_response(url="https://api.github.com/user", json={"login": "583231", "id": 99})

    with pytest.raises(SignInRefused):
        await sign_in(github(platform, "583231"))


@pytest.mark.parametrize(
    ("allowed", "let_in"),
    [("@acme.test", True), ("octocat@acme.test", True), ("@evil.test", False), ("octocat@github.test", False)],
    ids=["domain", "address", "unverified", "only public"],
)
async def test_only_addresses_that_github_has_verified_count(
    platform: Platform, httpx_mock: HTTPXMock, allowed: str, let_in: bool
) -> None:
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json=TOKEN)
    httpx_mock.add_response(url="https://api.github.com/user", json=OCTOCAT)
    httpx_mock.add_response(url="https://api.github.com/user/emails", json=EMAILS)
    provider = github(platform, allowed)

    assert parse_qs((await provider.depart(state="s", callback=CALLBACK)).url)["scope"] == ["user:email"]
    if let_in:
        assert (await sign_in(provider)).user.subject == "583231"
    else:
        with pytest.raises(SignInRefused):
            await sign_in(provider)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ({"error": "bad_verification_code"}, SignInRefused, "The sign-in at GitHub has expired. Start again."),
        ({"error": "incorrect_client_credentials"}, UpstreamError, "GitHub does not accept this server"),
        ({"error": "redirect_uri_mismatch"}, UpstreamError, "GitHub does not accept this server"),
        ({"error": "unverified_user_email"}, UpstreamError, "unverified_user_email"),
    ],
)
async def test_github_says_what_is_wrong_with_status_200(
    platform: Platform, httpx_mock: HTTPXMock, answer: dict[str, Any], error: type[Exception], message: str
) -> None:
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json=answer)

    with pytest.raises(error, match=message):
        await sign_in(github(platform))


@pytest.mark.parametrize(
    "account", [{"login": "octocat"}, {"id": "583231", "login": "octocat"}, {"id": True, "login": "x"}, {"id": -1}]
)
async def test_an_account_without_a_number_is_nobody(
    platform: Platform, httpx_mock: HTTPXMock, account: dict[str, Any]
) -> None:
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json=TOKEN)
    httpx_mock.add_response(url="https://api.github.com/user", json=account)

    with pytest.raises(UpstreamError, match="expected form"):
        await sign_in(github(platform))


async def test_a_denial_asks_github_nothing(platform: Platform) -> None:
    with pytest.raises(SignInRefused, match="cancelled or denied"):
        await sign_in(github(platform), error="access_denied")


async def test_the_tokens_of_a_github_app_are_renewed(platform: Platform, httpx_mock: HTTPXMock) -> None:
    answer = {**TOKEN, "access_token": "ghu_new", "expires_in": 28800, "refresh_token": "ghr_new"}
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json=answer)

    fresh = await github(platform).refresh(TokenSet("ghu_old", "ghr_old", NOW))

    assert fresh == TokenSet("ghu_new", "ghr_new", NOW + 28800)
    assert dict(parse_qsl(httpx_mock.get_requests()[0].content.decode())) == {
        "grant_type": "refresh_token",
        "refresh_token": "ghr_old",
        "client_id": "Iv1.1",
        "client_secret": "s3cret",
    }


async def test_a_refresh_token_that_is_spent_is_refused(platform: Platform, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url="https://github.com/login/oauth/access_token", json={"error": "bad_refresh_token"})
    with pytest.raises(SignInRefused, match="takes this account's credential no more"):
        await github(platform).refresh(TokenSet("ghu_old", "ghr_old", NOW))
