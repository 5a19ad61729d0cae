"""Cloudflare Access in front: its assertion is verified, and says who calls."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from mcp_edge.auth.modes import AuthMode
from mcp_edge.errors import ConfigurationError, Unauthenticated, UpstreamError
from mcp_edge.protocol.routing import RouteTable
from mcp_edge.user import User
from tests.auth.resource.issuer import NOW, OTHER_RSA, RSA, Issuer, asking

pytestmark = pytest.mark.anyio

TEAM = "acme.cloudflareaccess.test"
AUD = "f3b0d4f1c2" * 6


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(f"https://{TEAM}", jwks_path="/cdn-cgi/access/certs")


@pytest.fixture
def mode(issuer: Issuer) -> AuthMode:
    return issuer.mode(auth="access", access_team_domain=TEAM, access_audience=AUD)


def assertion(key: Any = RSA, **claims: Any) -> str:
    """What Access puts into its header for a person."""
    body: dict[str, Any] = {
        "aud": [AUD],
        "email": "alice@acme.test",
        "exp": int(NOW) + 600,
        "iat": int(NOW),
        "nbf": int(NOW),
        "iss": f"https://{TEAM}",
        "type": "app",
        "identity_nonce": "6ei69kawdKzMIAPF",
        "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
        "country": "DE",
        **claims,
    }
    body = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(body, key, algorithm="RS256", headers={"kid": "rsa"})


async def user_of(mode: AuthMode, token: str, name: str = "cf-access-jwt-assertion", path: str = "/mcp") -> User:
    return await mode.authenticator.authenticate(asking({name: token}, path))


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages"])
async def test_a_person_is_who_access_says(mode: AuthMode, path: str) -> None:
    assert await user_of(mode, assertion(), path=path) == User(
        f"https://{TEAM}", "7335d417-61da-459d-899c-0a01c76a2f94", name="alice@acme.test"
    )


async def test_a_service_token_or_a_client_certificate_is_its_common_name(mode: AuthMode) -> None:
    machine = assertion(sub="", email=None, identity_nonce=None, common_name="e367826f93b8.access")

    assert await user_of(mode, machine) == User(
        f"https://{TEAM}", "common_name:e367826f93b8.access", name="e367826f93b8.access"
    )


async def test_a_machine_that_bears_a_persons_id_is_not_that_person(mode: AuthMode) -> None:
    person = await user_of(mode, assertion(sub="alice"))
    machine = await user_of(mode, assertion(sub="", common_name="alice"))

    assert person.principal != machine.principal


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": ["0" * 60]},
        {"aud": None},
        {"aud": []},
        {"iss": "https://evil.cloudflareaccess.test"},
        {"iss": None},
        {"exp": int(NOW) - 31},
        {"exp": None},
        {"nbf": int(NOW) + 31},
        {"type": "org"},
        {"type": None},
        {"sub": "", "common_name": None},
        {"sub": None, "common_name": ""},
        {"key": OTHER_RSA},
    ],
)
async def test_an_assertion_for_another_application_or_of_somebody_else_is_refused(
    mode: AuthMode, wrong: dict[str, Any]
) -> None:
    assert (await user_of(mode, assertion())).name == "alice@acme.test"
    with pytest.raises(Unauthenticated) as refused:
        await user_of(mode, assertion(**wrong))

    assert refused.value.headers == {"www-authenticate": 'Bearer error="invalid_token"', "cache-control": "no-store"}


@pytest.mark.parametrize("name", ["authorization", "cf-access-authenticated-user-email", "x-cf-access-jwt-assertion"])
async def test_no_other_header_says_who_calls(mode: AuthMode, name: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await user_of(mode, assertion(), name)

    assert refused.value.headers["www-authenticate"] == "Bearer"


async def test_of_two_assertions_none_is_taken(mode: AuthMode) -> None:
    fields = [(b"cf-access-jwt-assertion", assertion().encode())]
    request = asking({})
    request.pairs = fields
    assert (await mode.authenticator.authenticate(request)).name == "alice@acme.test"
    for other in (b"", fields[0][1]):
        request.pairs = [(b"cf-access-jwt-assertion", other), *fields]
        with pytest.raises(Unauthenticated, match="through Cloudflare Access"):
            await mode.authenticator.authenticate(request)


async def test_a_request_that_did_not_come_through_access_is_told_so(mode: AuthMode) -> None:
    with pytest.raises(Unauthenticated, match="through Cloudflare Access"):
        await mode.authenticator.authenticate(asking({}))


async def test_keys_are_fetched_once_and_rotated(issuer: Issuer, mode: AuthMode) -> None:
    await user_of(mode, assertion())
    await user_of(mode, assertion(email="bob@acme.test"))
    assert issuer.asked == [f"https://{TEAM}/cdn-cgi/access/certs"]

    issuer.keys = {"rsa": OTHER_RSA}
    issuer.now += 601
    assert (await user_of(mode, assertion(OTHER_RSA, exp=int(NOW) + 900))).name == "alice@acme.test"
    with pytest.raises(Unauthenticated):
        await user_of(mode, assertion(exp=int(NOW) + 900))


async def test_an_access_that_cannot_be_reached_is_an_upstreams_error(issuer: Issuer, mode: AuthMode) -> None:
    issuer.away = True
    with pytest.raises(UpstreamError):
        await user_of(mode, assertion())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"access_audience": AUD}, "MCP_ACCESS_TEAM_DOMAIN"),
        ({"access_audience": AUD, "access_team_domain": "https://x.test/path"}, "MCP_ACCESS_TEAM_DOMAIN"),
        ({"access_team_domain": TEAM}, "MCP_ACCESS_AUDIENCE"),
    ],
)
def test_settings_that_cannot_work_end_the_start(issuer: Issuer, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        issuer.mode(auth="access", **settings)


@pytest.mark.parametrize("domain", [f"https://{TEAM}", f"https://{TEAM}/"])
async def test_the_team_may_be_given_as_a_url(issuer: Issuer, domain: str) -> None:
    mode = issuer.mode(auth="access", access_team_domain=domain, access_audience=AUD)

    assert (await user_of(mode, assertion())).name == "alice@acme.test"


def test_access_itself_tells_clients_how_to_be_authorized(mode: AuthMode) -> None:
    assert RouteTable(mode.routes).find("/.well-known/oauth-protected-resource") is None
