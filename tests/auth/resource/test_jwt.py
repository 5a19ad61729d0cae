"""Access tokens that another authorization server has signed: which are good here, whose they are, what they allow."""

from __future__ import annotations

import base64
import hmac
import json
import logging
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcp_edge.auth.modes import AuthMode
from mcp_edge.errors import ConfigurationError, Unauthenticated, UpstreamError
from mcp_edge.protocol.routing import RouteTable
from mcp_edge.user import User
from tests.auth.resource.issuer import HERE, NOW, OTHER_RSA, RSA, Answered, Issuer, asking, bearing, public, user_of

pytestmark = pytest.mark.anyio

WELL_KNOWN = f"{HERE}/.well-known/oauth-protected-resource/mcp"
INVALID = (
    'Bearer error="invalid_token", error_description="The access token is not valid here.", '
    f'resource_metadata="{WELL_KNOWN}", scope="notes:read notes:write"'
)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def mode(issuer: Issuer) -> AuthMode:
    return issuer.mode(auth="jwt", jwt_issuer=issuer.url)


async def refusal(mode: AuthMode, token: str, path: str = "/mcp") -> str:
    """The challenge to somebody who comes with this token."""
    with pytest.raises(Unauthenticated) as refused:
        await user_of(mode, token, path)
    assert refused.value.headers["cache-control"] == "no-store"
    return refused.value.headers["www-authenticate"]


# -- whose it is ------------------------------------------------------------------------------------------------------


async def test_a_good_token_names_its_user_client_and_scopes_with_those_implied(issuer: Issuer, mode: AuthMode) -> None:
    token = issuer.token(scope="notes:write", name="Alice")

    assert await user_of(mode, token) == User(
        issuer=issuer.url,
        subject="alice",
        name="Alice",
        scopes=frozenset({"notes:read", "notes:write"}),
        client="app",
    )


SHAPES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], User]] = {
    "Auth0, a person": (
        "https://acme.auth0.test/",
        {"typ": "JWT"},
        {
            "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
            "aud": [HERE, "https://acme.auth0.test/userinfo"],
            "azp": "client",
            "scope": "openid profile",
            "permissions": ["notes:write"],
            "org_id": "org_9",
        },
        {},
        User(
            "https://acme.auth0.test/",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            tenant="org_9",
            name="auth0|5f7c8ec7c33c6c004bbafe82",
            scopes=frozenset({"openid", "profile", "notes:read", "notes:write"}),
            client="client",
        ),
    ),
    "Auth0, a machine": (
        "https://acme.auth0.test/",
        {"typ": "JWT"},
        {"sub": "client@clients", "aud": HERE, "azp": "client", "gty": "client-credentials", "scope": "notes:read"},
        {},
        User(
            "https://acme.auth0.test/",
            "client@clients",
            name="client@clients",
            scopes=frozenset({"notes:read"}),
            client="client",
        ),
    ),
    "Entra, a person": (
        "https://login.microsoftonline.test/11111111-2222-3333-4444-555555555555/v2.0",
        {"typ": "JWT"},
        {
            "sub": "pairwise",
            "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
            "azp": "client",
            "scp": "notes:read x",
            "tid": "11111111-2222-3333-4444-555555555555",
            "oid": "o",
            "name": "Alice",
            "preferred_username": "alice@acme.test",
            "ver": "2.0",
        },
        {"jwt_audience": ("6e74172b-be56-4843-9ff4-e66a39bb12e3",)},
        User(
            "https://login.microsoftonline.test/11111111-2222-3333-4444-555555555555/v2.0",
            "pairwise",
            tenant="11111111-2222-3333-4444-555555555555",
            name="Alice",
            scopes=frozenset({"notes:read", "x"}),
            client="client",
        ),
    ),
    "Cognito, without an audience": (
        "https://cognito-idp.eu-central-1.test/eu-central-1_abc",
        {},
        {
            "sub": "aaaaaaaa-bbbb",
            "token_use": "access",
            "client_id": "1h57kf5cpq17m0eml12EXAMPLE",
            "username": "alice",
            "scope": "https://mcp.example.com/notes:write openid",
            "origin_jti": "j",
            "version": 2,
        },
        {"jwt_audience": ("1h57kf5cpq17m0eml12EXAMPLE",)},
        User(
            "https://cognito-idp.eu-central-1.test/eu-central-1_abc",
            "aaaaaaaa-bbbb",
            name="alice",
            scopes=frozenset({"https://mcp.example.com/notes:write", "openid", "notes:read", "notes:write"}),
            client="1h57kf5cpq17m0eml12EXAMPLE",
        ),
    ),
    "Keycloak": (
        "https://sso.acme.test/realms/acme",
        {"typ": "JWT"},
        {
            "sub": "f:1:alice",
            "aud": [HERE + "/mcp", "account"],
            "typ": "Bearer",
            "azp": "client",
            "scope": "profile notes:read",
            "preferred_username": "alice",
            "realm_access": {"roles": ["user"]},
        },
        {},
        User(
            "https://sso.acme.test/realms/acme",
            "f:1:alice",
            name="alice",
            scopes=frozenset({"profile", "notes:read"}),
            client="client",
        ),
    ),
    "RFC 9068": (
        "https://as.acme.test",
        {"typ": "application/at+jwt"},
        {"sub": "alice", "aud": HERE + "/", "client_id": "client", "scope": "notes:read", "jti": "1"},
        {},
        User("https://as.acme.test", "alice", name="alice", scopes=frozenset({"notes:read"}), client="client"),
    ),
    "a list of scopes": (
        "https://as.acme.test",
        {},
        {"sub": "alice", "aud": HERE, "client_id": "client", "scp": ["notes:read", "x"]},
        {},
        User("https://as.acme.test", "alice", name="alice", scopes=frozenset({"notes:read", "x"}), client="client"),
    ),
    "no scope": (
        "https://as.acme.test",
        {"typ": "at+jwt"},
        {"sub": "alice", "aud": HERE, "client_id": "client"},
        {},
        User("https://as.acme.test", "alice", name="alice", scopes=frozenset(), client="client"),
    ),
}


def shaped(issuer: Issuer, header: dict[str, Any], claims: dict[str, Any]) -> str:
    times = {"iss": issuer.url, "iat": int(NOW), "exp": int(NOW) + 600}
    return jwt.encode({**times, **claims}, RSA, algorithm="RS256", headers={"kid": "rsa", **header})


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_tokens_of_the_usual_authorization_servers_are_understood(shape: str) -> None:
    url, header, claims, settings, expected = SHAPES[shape]
    issuer = Issuer(url)
    mode = issuer.mode(auth="jwt", jwt_issuer=url, **settings)

    assert await user_of(mode, shaped(issuer, header, claims)) == expected


async def test_two_tenants_of_one_issuer_are_two_principals(issuer: Issuer, mode: AuthMode) -> None:
    principals = {(await user_of(mode, issuer.token(tid=tenant))).principal for tenant in ("a", "b", None)}

    assert len(principals) == 3
    assert await refusal(mode, issuer.token(tid="a|alice")) == INVALID


# -- for whom it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "good_at"),
    [
        (HERE, {"/mcp", "/sse", "/messages"}),
        (HERE + "/", {"/mcp", "/sse", "/messages"}),
        (HERE + "/mcp", {"/mcp"}),
        (HERE + "/sse", {"/sse", "/messages"}),
        ([HERE + "/mcp", HERE + "/sse"], {"/mcp", "/sse", "/messages"}),
        (["https://other.test", HERE], {"/mcp", "/sse", "/messages"}),
        ("https://other.test", set[str]()),
        (HERE + "/mcp/x", set[str]()),
        ("https://mcp.example.com.evil.test", set[str]()),
        (HERE.upper(), set[str]()),
        ("", set[str]()),
        ([], set[str]()),
        ([[HERE]], set[str]()),
        ({"aud": HERE}, set[str]()),
        (7, set[str]()),
        (None, set[str]()),
    ],
)
async def test_a_token_is_good_at_the_resource_it_was_made_for(
    issuer: Issuer, mode: AuthMode, audience: Any, good_at: set[str]
) -> None:
    token = issuer.token(aud=audience)
    admitted: set[str] = set()
    for path in ("/mcp", "/sse", "/messages"):
        try:
            await user_of(mode, token, path)
        except Unauthenticated:
            continue
        admitted.add(path)

    assert admitted == good_at


async def test_configured_audiences_take_the_place_of_the_servers_own_urls(issuer: Issuer) -> None:
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url, jwt_audience="api://notes")

    assert (await user_of(mode, issuer.token(aud="api://notes"), "/sse")).subject == "alice"
    assert await refusal(mode, issuer.token(aud=HERE)) == INVALID


async def test_only_a_token_of_that_use_may_have_a_client_for_its_audience() -> None:
    issuer = Issuer("https://cognito-idp.test/pool")
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url, jwt_audience="app")
    claims = {"sub": "a", "client_id": "app", "scope": "x"}

    assert (await user_of(mode, shaped(issuer, {}, {**claims, "token_use": "access"}))).client == "app"
    for wrong in (
        {},
        {"token_use": "id"},
        {"token_use": "access", "client_id": "other"},
        {"token_use": "access", "aud": "y"},
    ):
        assert await refusal(mode, shaped(issuer, {}, {**claims, **wrong})) == INVALID


# -- tokens that are not good -----------------------------------------------------------------------------------------


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
async def test_a_time_that_is_no_number_is_no_time(issuer: Issuer, mode: AuthMode, name: str) -> None:
    assert await refusal(mode, issuer.token(**{name: float("nan")})) == INVALID
    assert (await user_of(mode, issuer.token(**{name: NOW + (60 if name == "exp" else 0)}))).subject == "alice"


async def test_a_token_that_ends_after_the_end_of_numbers_is_good_now(issuer: Issuer, mode: AuthMode) -> None:
    for end in (10**400, float("inf")):
        assert (await user_of(mode, issuer.token(exp=end))).subject == "alice"


def forged(kind: str, issuer: Issuer) -> str:
    """A token that must not pass."""
    claims = issuer.claims()
    good = issuer.sign(claims)
    head, body, signature = good.split(".")
    match kind:
        case "no algorithm":
            return f"{segment({'alg': 'none', 'typ': 'at+jwt'})}.{body}."
        case "no algorithm, in other letters":
            return f"{segment({'alg': 'nOnE', 'typ': 'at+jwt'})}.{body}."
        case "the public key as an HMAC secret":
            secret = segment({"alg": "HS256", "typ": "at+jwt", "kid": "rsa"})
            pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            mac = hmac.digest(pem, f"{secret}.{body}".encode(), "sha256")
            return f"{secret}.{body}." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        case "another key":
            return issuer.sign(claims, key=OTHER_RSA)
        case "a key of its own":
            return issuer.sign(claims, key=OTHER_RSA, jwk=public("rsa", OTHER_RSA))
        case "a key at a URL of its own":
            return issuer.sign(claims, key=OTHER_RSA, jku="https://evil.test/keys")
        case "an unknown key id":
            return issuer.sign(claims, key=OTHER_RSA, kid="new")
        case "a key id that is no text":
            return f"{segment({'alg': 'RS256', 'kid': {'a': 1}})}.{body}.{signature}"
        case "an extension that must be understood":
            return issuer.sign(claims, crit=["exp"])
        case "other claims under the same signature":
            return f"{head}.{segment({**claims, 'sub': 'bob'})}.{signature}"
        case "no signature":
            return f"{head}.{body}."
        case "a signature that is cut":
            return good[:-4]
        case "another issuer":
            return issuer.token(iss="https://issuer.test.evil.test")
        case "another spelling of the issuer":
            return issuer.token(iss=issuer.url + "/")
        case "no issuer":
            return issuer.token(iss=None)
        case "no end":
            return issuer.token(exp=None)
        case "an end that is no time":
            return issuer.token(exp="later")
        case "over":
            return issuer.token(exp=int(NOW) - 31)
        case "not yet begun":
            return issuer.token(nbf=int(NOW) + 31)
        case "made in the future":
            return issuer.token(iat=int(NOW) + 31)
        case "no subject":
            return issuer.token(sub=None)
        case "an empty subject":
            return issuer.token(sub="")
        case "a subject that is no text":
            return issuer.token(sub=7)
        case "a long subject":
            return issuer.token(sub="a" * 256)
        case "bound to a key of its client":
            return issuer.token(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})
        case "a long token":
            return issuer.token(more="a" * 20_000)
        case "deep claims":
            return f"{head}.{base64.urlsafe_b64encode(b'[' * 5000).rstrip(b'=').decode()}.{signature}"
        case "five parts":
            return good + ".a.b"
        case "no text":
            return "\xff\xfe"
        case _:
            return ""


FORGED = [
    "no algorithm",
    "no algorithm, in other letters",
    "the public key as an HMAC secret",
    "another key",
    "a key of its own",
    "a key at a URL of its own",
    "an unknown key id",
    "a key id that is no text",
    "an extension that must be understood",
    "other claims under the same signature",
    "no signature",
    "a signature that is cut",
    "another issuer",
    "another spelling of the issuer",
    "no issuer",
    "no end",
    "an end that is no time",
    "over",
    "not yet begun",
    "made in the future",
    "no subject",
    "an empty subject",
    "a subject that is no text",
    "a long subject",
    "bound to a key of its client",
    "a long token",
    "deep claims",
    "five parts",
    "no text",
    "nothing",
]


@pytest.mark.parametrize("kind", FORGED)
async def test_a_token_that_is_not_good_is_refused_without_a_reason_that_helps_to_forge_one(
    issuer: Issuer, mode: AuthMode, kind: str
) -> None:
    assert (await user_of(mode, issuer.token())).subject == "alice"

    assert await refusal(mode, forged(kind, issuer)) == INVALID
    assert all(url.startswith(issuer.url) for url in issuer.asked)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "JWT"}, {"nonce": "n"}),
        ({"typ": "JWT"}, {"at_hash": "h"}),
        ({}, {"c_hash": "h"}),
        ({}, {"token_use": "id"}),
        ({}, {"typ": "ID"}),
        ({}, {"typ": "Refresh"}),
        ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ({"typ": "logout+jwt"}, {}),
        ({"typ": "dpop+jwt"}, {}),
        ({"typ": "secevent+jwt"}, {}),
        ({"typ": "JWT"}, {"scope": None, "client_id": None, "aud": "app", "azp": "app"}),
    ],
)
async def test_what_the_same_issuer_signs_for_other_purposes_is_no_access_token(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    issuer = Issuer()
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url, jwt_audience=f"app, {HERE}")
    good = {name: value for name, value in issuer.claims(**claims).items() if value is not None}

    assert await refusal(mode, shaped(issuer, header, good)) == INVALID
    assert (await user_of(mode, shaped(issuer, {"typ": "JWT"}, issuer.claims()))).subject == "alice"


@pytest.mark.parametrize("odd", ["\xa0", "\x85", "\x0b", "\x1c", "=", "==", "!", "\n", "\xc2\xa0", "+", "/"])
async def test_a_token_has_one_spelling(issuer: Issuer, mode: AuthMode, odd: str) -> None:
    token = issuer.token()
    head, body, signature = token.split(".")
    assert (await user_of(mode, f" {token}\t")).subject == "alice"
    spellings = [
        token + odd,
        odd + token,
        f"{head}.{body}.{odd}{signature}",
        f"{head}.{body}.{signature[:9]}{odd}{signature[9:]}",
    ]
    for spelling in (*spellings, f"{head}{odd}.{body}.{signature}"):
        assert await refusal(mode, spelling) == INVALID


async def test_clocks_may_differ_by_half_a_minute(issuer: Issuer, mode: AuthMode) -> None:
    assert (await user_of(mode, issuer.token(nbf=int(NOW) + 29, iat=int(NOW) + 29))).subject == "alice"
    assert (await user_of(mode, issuer.token(exp=int(NOW) - 29))).subject == "alice"


async def test_without_a_token_the_client_is_told_where_to_get_one(mode: AuthMode) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await mode.authenticator.authenticate(asking({}))

    assert refused.value.headers == {
        "www-authenticate": f'Bearer resource_metadata="{WELL_KNOWN}", scope="notes:read notes:write"',
        "cache-control": "no-store",
    }


async def test_a_token_in_the_query_or_under_another_scheme_is_none(issuer: Issuer, mode: AuthMode) -> None:
    token = issuer.token()
    for request in (asking({}, query=f"access_token={token}"), asking({"authorization": f"Basic {token}"})):
        with pytest.raises(Unauthenticated) as refused:
            await mode.authenticator.authenticate(request)
        assert "error=" not in refused.value.headers["www-authenticate"]
    assert (await mode.authenticator.authenticate(asking({"authorization": f"bearer {token}"}))).subject == "alice"


async def test_the_challenge_of_a_missing_scope_names_it_and_the_endpoints_metadata(mode: AuthMode) -> None:
    headers = mode.authenticator.step_up(bearing("x", "/messages"), {"notes:write"})

    assert 'error="insufficient_scope"' in headers["www-authenticate"]
    assert 'scope="notes:write"' in headers["www-authenticate"]
    assert f'resource_metadata="{HERE}/.well-known/oauth-protected-resource/sse"' in headers["www-authenticate"]


async def test_a_refusal_is_logged_with_its_reason_and_without_the_token(
    issuer: Issuer, mode: AuthMode, caplog: pytest.LogCaptureFixture
) -> None:
    token = issuer.token(aud="https://other.test")
    with caplog.at_level(logging.INFO):
        await refusal(mode, token)

    assert "it is for somebody else" in caplog.text
    assert not any(part in caplog.text for part in token.split("."))


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_keys_are_found_through_the_issuers_metadata_and_a_known_token_asks_nobody(
    issuer: Issuer, mode: AuthMode
) -> None:
    token = issuer.token()
    for _ in range(3):
        await user_of(mode, token)
    await user_of(mode, issuer.token())

    assert issuer.asked == [issuer.url + "/.well-known/openid-configuration", issuer.url + "/keys"]


async def test_an_issuer_with_metadata_of_rfc_8414_alone_is_found_too(issuer: Issuer, mode: AuthMode) -> None:
    issuer.metadata_path = "/.well-known/oauth-authorization-server"

    assert (await user_of(mode, issuer.token())).subject == "alice"


async def test_a_configured_place_of_the_keys_needs_no_metadata(issuer: Issuer) -> None:
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url, jwt_jwks_url=issuer.url + "/keys")
    await user_of(mode, issuer.token())

    assert issuer.asked == [issuer.url + "/keys"]


async def test_a_new_key_is_taken_up_and_a_withdrawn_one_ends_its_tokens_within_ten_minutes(
    issuer: Issuer, mode: AuthMode
) -> None:
    old = issuer.token()
    assert (await user_of(mode, old)).subject == "alice"
    issuer.keys = {"second": OTHER_RSA}
    assert (await user_of(mode, issuer.sign(issuer.claims(), kid="second"))).subject == "alice"
    issuer.now += 601

    assert await refusal(mode, old) == INVALID
    assert (await user_of(mode, issuer.sign(issuer.claims(), kid="second"))).subject == "alice"


async def test_elliptic_curves_are_accepted(issuer: Issuer, mode: AuthMode) -> None:
    assert (await user_of(mode, issuer.sign(issuer.claims(), kid="ec", alg="ES256"))).subject == "alice"


async def test_a_token_ends_when_it_says_so_however_well_it_is_known(issuer: Issuer, mode: AuthMode) -> None:
    token = issuer.token(exp=int(NOW) + 60)
    assert (await user_of(mode, token)).subject == "alice"
    issuer.now += 91

    assert await refusal(mode, token) == INVALID


async def test_what_is_remembered_of_tokens_is_bounded(
    issuer: Issuer, mode: AuthMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_edge.auth.resource.token_cache._KNOWN", 2)
    verified: list[bytes] = []
    original = jwt.decode

    def counted(token: bytes, *rest: Any, **named: Any) -> Any:
        verified.append(sha256(token).digest())
        return original(token, *rest, **named)

    monkeypatch.setattr("jwt.decode", counted)
    tokens = [issuer.token() for _ in range(3)]
    for token in (*tokens, tokens[2], tokens[1], tokens[0]):
        await user_of(mode, token)

    assert verified == [sha256(tokens[n].encode()).digest() for n in (0, 1, 2, 0)]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.test"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://issuer.test/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
    ],
)
async def test_metadata_that_points_elsewhere_or_is_another_issuers_is_not_followed(
    issuer: Issuer, mode: AuthMode, metadata: dict[str, Any]
) -> None:
    issuer.metadata = metadata
    with pytest.raises(UpstreamError):
        await user_of(mode, issuer.token())

    assert all("/.well-known/" in url for url in issuer.asked)


async def test_an_issuer_that_is_away_is_an_upstreams_error_and_known_tokens_stay_good(
    issuer: Issuer, mode: AuthMode
) -> None:
    known = issuer.token()
    await user_of(mode, known)
    fresh = Issuer(away=True)
    with pytest.raises(UpstreamError):
        await user_of(fresh.mode(auth="jwt", jwt_issuer=fresh.url), fresh.token())
    issuer.away = True
    assert (await user_of(mode, known)).subject == "alice"


# -- metadata and settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["", "/mcp", "/sse"])
async def test_each_resource_names_the_issuer_as_its_authorization_server(
    issuer: Issuer, mode: AuthMode, endpoint: str
) -> None:
    answered = await Answered.by(mode, f"/.well-known/oauth-protected-resource{endpoint}")

    assert answered.status == 200
    assert answered.json == {
        "resource": HERE + endpoint,
        "authorization_servers": [issuer.url],
        "scopes_supported": ["notes:read", "notes:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "mcp.example.com",
    }
    assert RouteTable(mode.routes).find("/authorize") is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "MCP_JWT_ISSUER"),
        ({"jwt_issuer": "http://issuer.test"}, "https"),
        ({"jwt_issuer": "issuer"}, "https"),
        ({"jwt_issuer": "https://issuer.test", "jwt_jwks_url": "http://issuer.test/keys"}, "https"),
    ],
)
def test_settings_that_cannot_work_end_the_start(issuer: Issuer, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        issuer.mode(auth="jwt", **settings)
