"""An ID token counts only if this issuer made it for this client and this sign-in; and what else a provider may say."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from jwt.utils import base64url_encode

from mcp_edge.auth.identity.admission import Admission
from mcp_edge.auth.identity.oidc import Oidc
from mcp_edge.auth.identity.provider import Identity, SignInRefused, TokenSet
from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.user import User
from tests.auth.identity.issuer import EC, ISSUER, NOW, OTHER_RSA, RSA, WEAK_RSA, FakeIssuer, part, rsa_jwk, unsigned

pytestmark = pytest.mark.anyio

UNVERIFIED = "The identity provider's answer could not be verified. Start again."


def signed_by(key: Any, algorithm: str) -> Callable[[dict[str, Any], dict[str, Any]], str]:
    return lambda claims, header: jwt.encode(claims, key, algorithm=algorithm, headers=header)


def hmac_with_the_public_key(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """The classic: the verifier's public key, taken for a shared secret."""
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    said = f"{part({**header, 'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    return f"{said}.{base64url_encode(hmac.digest(pem, said.encode(), 'sha256')).decode()}"


def nonsense(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Three parts of nothing."""
    del claims, header
    return "a.b.c"


def nothing(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """An empty text."""
    del claims, header
    return ""


def altered(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """A good token whose claims were replaced."""
    head, _, signature = signed_by(RSA, "RS256")(claims, header).split(".")
    return f"{head}.{unsigned({**claims, 'sub': 'admin'}, header).split('.')[1]}.{signature}"


DEEP = f'{{"alg": "RS256", "kid": "first", "x": {"[" * 8_000}{"]" * 8_000}}}'.encode()
"""JSON that nests more deeply than Python reads, in a token that is short enough."""


def deep_header(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """A header that nobody can read; anybody can make one."""
    return ".".join([base64url_encode(DEEP).decode(), *signed_by(RSA, "RS256")(claims, header).split(".")[1:]])


def deep_claims(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Claims that nobody can read, signed by the issuer."""
    del claims
    return jwt.PyJWS().encode(DEEP, RSA, algorithm="RS256", headers=header)


async def test_a_good_token_names_the_user() -> None:
    assert await FakeIssuer().sign_in() == Identity(
        User(issuer=ISSUER, subject="alice", name="Alice"),
        TokenSet("upstream-access", expires_at=NOW + 3600),
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["mcp"]},
        {"aud": ["mcp", "other"], "azp": "mcp"},
        {"azp": "mcp"},
        {"exp": NOW - 29},
        {"iat": NOW + 29},
        {"nbf": NOW},
    ],
    ids=["list", "two audiences", "azp", "clock behind", "clock ahead", "nbf"],
)
async def test_other_good_tokens_name_the_user(claims: dict[str, Any]) -> None:
    assert (await FakeIssuer(claims=claims).sign_in()).user.subject == "alice"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "another"}, "the nonce is not that of this sign-in"),
        ({"nonce": None}, "the nonce is not that of this sign-in"),
        ({"nonce": ["a"]}, "the nonce is not that of this sign-in"),
        ({"aud": "another"}, "InvalidAudienceError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"aud": ["mcp", "other"]}, "azp is another client"),
        ({"aud": ["mcp", "other"], "azp": "other"}, "azp is another client"),
        ({"azp": "other"}, "azp is another client"),
        ({"iss": "https://evil.test"}, "InvalidIssuerError"),
        ({"iss": ISSUER + "/"}, "InvalidIssuerError"),
        ({"exp": NOW - 31}, "it has expired"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"exp": "tomorrow"}, "exp is not a time"),
        ({"exp": True}, "exp is not a time"),
        ({"exp": float("nan")}, "it has expired"),
        ({"iat": float("nan")}, "iat lies in the future"),
        ({"iat": NOW + 31}, "iat lies in the future"),
        ({"nbf": NOW + 31}, "nbf lies in the future"),
        ({"sub": ""}, "sub is not a subject"),
        ({"sub": "a" * 256}, "sub is not a subject"),
        ({"sub": "alice\u00a0"}, "sub is not a subject"),
        ({"sub": "al\u200bice"}, "sub is not a subject"),
        ({"sub": "\ud800"}, "sub is not a subject"),
        ({"sub": None}, "MissingRequiredClaimError"),
    ],
)
async def test_a_token_of_another_sign_in_names_nobody(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(SignInRefused) as refused:
        await FakeIssuer(claims=claims).sign_in()

    assert (refused.value.message, refused.value.reason) == (UNVERIFIED, f"id_token: {reason}")


@pytest.mark.parametrize(
    ("sign", "header", "reason"),
    [
        (unsigned, {"kid": "first"}, "the algorithm is not one that the issuer has announced"),
        (unsigned, {}, "the algorithm is not one that the issuer has announced"),
        (hmac_with_the_public_key, {"kid": "first"}, "the algorithm is not one that the issuer has announced"),
        (signed_by(RSA, "RS512"), {"kid": "first"}, "the algorithm is not one that the issuer has announced"),
        (signed_by(RSA, "RS256"), {"kid": "unknown"}, "the issuer has no such key"),
        (signed_by(RSA, "RS256"), {"kid": "curve"}, "the issuer has no such key"),
        (signed_by(OTHER_RSA, "RS256"), {"kid": "first"}, "InvalidSignatureError"),
        (altered, {"kid": "first"}, "InvalidSignatureError"),
        (signed_by(RSA, "RS256"), {"kid": "first", "typ": "at+jwt"}, "it is a token of another type"),
        (signed_by(RSA, "RS256"), {"kid": "first", "crit": ["x"], "x": 1}, "InvalidTokenError"),
        (deep_header, {}, "DecodeError"),
        (deep_claims, {"kid": "first"}, "DecodeError"),
        (nonsense, {}, "DecodeError"),
        (nothing, {}, "DecodeError"),
    ],
    ids=[
        "none", "none without kid", "HS256 with the public key", "not announced", "unknown kid", "another key's kid",
        "another key", "altered", "access token", "critical header",
        "deep header", "deep claims", "no token", "empty",
    ],
)  # fmt: skip
async def test_a_token_that_the_issuer_did_not_sign_names_nobody(
    sign: Callable[[dict[str, Any], dict[str, Any]], str], header: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SignInRefused) as refused:
        await FakeIssuer(sign=sign, header=header).sign_in()

    assert (refused.value.message, refused.value.reason) == (UNVERIFIED, f"id_token: {reason}")


async def test_any_announced_asymmetric_algorithm_will_do() -> None:
    issuer = FakeIssuer(sign=signed_by(EC, "ES256"), header={"kid": "curve"})
    assert (await issuer.sign_in()).user.subject == "alice"


async def test_a_symmetric_algorithm_does_not_count_even_if_it_is_announced() -> None:
    issuer = FakeIssuer(
        sign=signed_by("s3cret" * 8, "HS256"), metadata={"id_token_signing_alg_values_supported": ["HS256", "none"]}
    )
    with pytest.raises(SignInRefused):
        await issuer.sign_in()


async def test_a_weak_key_of_the_issuer_verifies_nothing() -> None:
    issuer = FakeIssuer(sign=signed_by(WEAK_RSA, "RS256"), keys=[rsa_jwk("first", WEAK_RSA)])
    with pytest.warns(jwt.InsecureKeyLengthWarning), pytest.raises(SignInRefused) as refused:
        await issuer.sign_in()

    assert refused.value.reason == "id_token: InvalidKeyError"


@pytest.mark.parametrize(
    ("claims", "tenant"),
    [({"tid": "contoso"}, "contoso"), ({"org_id": "org_1"}, "org_1"), ({"hd": "acme.test"}, "acme.test")],
)
async def test_the_tenant_is_part_of_who_the_user_is(claims: dict[str, Any], tenant: str) -> None:
    user = (await FakeIssuer(claims=claims).sign_in()).user
    assert user.principal == f"{ISSUER}|{tenant}|alice"


@pytest.mark.parametrize("tenant", ["a|b", "acme\u00a0", "acme\n", "\ud800", "a" * 256])
async def test_a_tenant_cannot_pass_for_another_ones_subject(tenant: str) -> None:
    with pytest.raises(SignInRefused):
        await FakeIssuer(claims={"hd": tenant}).sign_in()


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.test"},
        {"issuer": ISSUER + "/"},
        {"issuer": None},
        {"token_endpoint": "http://issuer.test/token"},
        {"token_endpoint": "http://127.0.0.1/token"},
        {"token_endpoint": "http://169.254.169.254/latest/"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": ["https://issuer.test/jwks"]},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://issuer.test/authorize#fragment"},
        {"userinfo_endpoint": "http://localhost/"},
    ],
    ids=lambda value: str(value)[:60],
)
async def test_metadata_that_cannot_be_trusted_is_not_followed(metadata: dict[str, Any]) -> None:
    issuer = FakeIssuer(metadata=metadata)
    with pytest.raises(UpstreamError):
        await issuer.sign_in()

    assert [request.url.path for request in issuer.requests] == ["/.well-known/openid-configuration"]


async def test_an_issuer_that_is_not_https_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError):
        FakeIssuer().provider(issuer="http://issuer.test")


async def test_discovery_is_asked_once() -> None:
    issuer = FakeIssuer()
    provider = issuer.provider()
    for _ in range(3):
        await issuer.sign_in(provider)

    paths = [request.url.path for request in issuer.requests]
    assert (paths.count("/.well-known/openid-configuration"), paths.count("/jwks"), paths.count("/token")) == (1, 1, 3)


@pytest.mark.parametrize(
    ("methods", "secret", "basic", "members"),
    [
        (None, "s3:%cret", "Basic bWNwOnMzJTNBJTI1Y3JldA==", set[str]()),
        (["client_secret_post", "client_secret_basic"], "s3:%cret", "Basic bWNwOnMzJTNBJTI1Y3JldA==", set[str]()),
        (["client_secret_post"], "s3:%cret", None, {"client_id", "client_secret"}),
        (["none"], "", None, {"client_id"}),
    ],
    ids=["default", "basic", "post", "public client"],
)
async def test_the_secret_is_sent_as_the_provider_takes_it(
    methods: list[str] | None, secret: str, basic: str | None, members: set[str]
) -> None:
    issuer = FakeIssuer(metadata={"token_endpoint_auth_methods_supported": methods})
    await issuer.sign_in(issuer.provider(client_secret=secret))

    (request,) = [request for request in issuer.requests if request.url.path == "/token"]
    form = parse_qs(request.content.decode())
    assert request.headers.get("authorization") == basic
    assert set(form) == {"grant_type", "code", "redirect_uri", "code_verifier"} | members


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), SignInRefused, "has expired"),
        (httpx.Response(401, json={"error": "invalid_client"}), UpstreamError, "does not accept this server"),
        (httpx.Response(400, json={"error": "<script>"}), UpstreamError, "an unknown error"),
        (httpx.Response(400, json={"error": {"a": 1}}), UpstreamError, "an unknown error"),
        (httpx.Response(503, text="later"), UpstreamError, "a problem of its own"),
        (httpx.Response(200, text="<html>"), UpstreamError, "is not JSON"),
        (httpx.Response(200, json=[]), UpstreamError, "expected form"),
        (httpx.Response(302, headers={"location": "https://evil.test/"}), UpstreamError, "is not JSON"),
        (httpx.Response(200, content=b" " * 300_000), UpstreamError, "larger than"),
        (httpx.Response(200, content=b"[" * 100_000), UpstreamError, "is not JSON"),
        (httpx.Response(200, json={"access_token": 5, "token_type": "Bearer"}), UpstreamError, "no access token"),
        (httpx.Response(200, json={"access_token": "a", "token_type": "DPoP"}), UpstreamError, "not known here"),
        (httpx.Response(200, json={"access_token": "a", "token_type": "Bearer"}), SignInRefused, "not say who you are"),
    ],
    ids=[
        "code spent", "client", "odd code", "no code", "down", "html", "list", "redirect", "too large", "too deep",
        "no token", "another kind", "no id token",
    ],
)  # fmt: skip
async def test_each_bad_answer_of_the_token_endpoint_is_a_sentence(
    answer: httpx.Response, error: type[Exception], message: str
) -> None:
    issuer = FakeIssuer(instead=lambda request: answer if request.url.path == "/token" else None)
    with pytest.raises(error, match=message):
        await issuer.sign_in()


async def test_a_name_that_no_resolver_takes_is_a_provider_that_cannot_be_reached() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        platform = replace(FakeIssuer().platform(), http=lambda: client)
        admission = Admission(("*",))
        provider = Oidc(platform, issuer=f"https://{'a' * 64}.test", client_id="mcp", admission=admission)
        with pytest.raises(UpstreamError, match="could not be reached"):
            await provider.depart(state="state", callback="https://mcp.example/oauth/callback")


async def test_a_provider_that_trickles_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await anyio.sleep(0.001)

    monkeypatch.setattr("mcp_edge.auth.identity.oauth_client.TIMEOUT_S", 0.05)
    issuer = FakeIssuer(
        instead=lambda request: httpx.Response(200, stream=Trickle()) if request.url.path == "/token" else None
    )
    with anyio.fail_after(5), pytest.raises(UpstreamError, match=r"did not answer within 0\.05 seconds"):
        await issuer.sign_in()


@pytest.mark.parametrize(
    ("userinfo", "let_in"),
    [
        ({"sub": "alice", "email": "alice@acme.test", "email_verified": True}, True),
        ({"sub": "alice", "email": "alice@acme.test", "email_verified": "true"}, True),
        ({"sub": "alice", "email": "alice@acme.test", "email_verified": False}, False),
        ({"sub": "alice", "email": "alice@acme.test"}, False),
        ({"sub": "bob", "email": "alice@acme.test", "email_verified": True}, False),
        ({"email": "alice@acme.test", "email_verified": True}, False),
        ({"sub": "alice", "email": ["alice@acme.test"], "email_verified": True}, False),
    ],
    ids=["verified", "as text", "unverified", "unsaid", "another subject", "no subject", "no text"],
)
async def test_an_address_counts_if_the_provider_says_so_of_this_user(userinfo: dict[str, Any], let_in: bool) -> None:
    issuer = FakeIssuer(userinfo=userinfo)
    provider = issuer.provider("@acme.test")
    if let_in:
        assert (await issuer.sign_in(provider)).user.subject == "alice"
    else:
        with pytest.raises(SignInRefused):
            await issuer.sign_in(provider)


GOOGLE = "https://accounts.google.com"


def google(**claims: Any) -> FakeIssuer:
    """Google, and an account with a verified address of acme.test."""
    told = {"iss": GOOGLE, "email": "alice@acme.test", "email_verified": True, **claims}
    endpoints = {
        f"{name}_endpoint": f"{GOOGLE}/{path}" for name, path in [("token", "token"), ("userinfo", "userinfo")]
    }
    return FakeIssuer(metadata={"issuer": GOOGLE, "jwks_uri": f"{GOOGLE}/jwks", **endpoints}, claims=told)


@pytest.mark.parametrize("hd", ["acme.test", "ACME.test"])
async def test_at_google_a_domain_admits_the_accounts_that_belong_to_it(hd: str) -> None:
    issuer = google(hd=hd)
    provider = issuer.provider("@Acme.test", issuer=GOOGLE)
    user = (await issuer.sign_in(provider)).user

    assert (user.admitted, user.tenant) == ("@acme.test", hd)
    assert provider.admits(user)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"email": "alice+left@acme.test"},
        {"hd": ""},
        {"hd": "other.test"},
        {"hd": "acme.test.evil.test"},
        {"hd": "evil.acme.test"},
        {"hd": ["acme.test"]},
        {"hd": {"acme.test": True}},
        {"hd": True},
        {"hd": "acme.test "},
        {"hd": "a\u0441me.test"},
        {"tid": "acme.test"},
        {"org_id": "acme.test"},
        {"hd": "other.test", "tid": "acme.test"},
        {"hd": "acme.test", "email": "alice@other.test"},
        {"hd": "acme.test", "email_verified": False},
        {"hd": "acme.test", "email_verified": None},
    ],
)
async def test_at_google_an_address_of_a_domain_does_not_make_the_account_the_domains(claims: dict[str, Any]) -> None:
    issuer = google(**claims)
    issuer.userinfo = {"sub": "alice", "email": "alice@acme.test", "email_verified": False, "hd": "acme.test"}
    with pytest.raises(SignInRefused, match="may not use this server"):
        await issuer.sign_in(issuer.provider("@acme.test", issuer=GOOGLE))


async def test_at_google_what_userinfo_says_of_an_address_does_not_make_the_account_the_domains() -> None:
    issuer = google(email=None)
    issuer.userinfo = {"sub": "alice", "email": "alice@acme.test", "email_verified": True, "hd": "acme.test"}
    with pytest.raises(SignInRefused):
        await issuer.sign_in(issuer.provider("@acme.test", issuer=GOOGLE))
    issuer.claims["hd"] = "acme.test"
    assert (await issuer.sign_in(issuer.provider("@acme.test", issuer=GOOGLE))).user.admitted == "@acme.test"


@pytest.mark.parametrize("entry", ["alice@acme.test", "alice", "*"])
async def test_at_google_an_account_that_is_named_needs_no_domain(entry: str) -> None:
    issuer = google()
    provider = issuer.provider(entry, issuer=GOOGLE)

    assert provider.admits((await issuer.sign_in(provider)).user)


async def test_whom_a_domain_has_let_in_at_google_without_being_of_it_is_out_at_the_next_request() -> None:
    """An earlier release let him in by his address alone."""
    provider = google().provider("@acme.test", issuer=GOOGLE)
    users = [User(GOOGLE, "alice", tenant=tenant, admitted="@acme.test") for tenant in ("acme.test", "", "other.test")]

    assert [provider.admits(user) for user in users] == [True, False, False]


async def test_elsewhere_a_verified_address_is_all_that_is_known() -> None:
    issuer = FakeIssuer(claims={"email": "alice@acme.test", "email_verified": True, "hd": "other.test"})
    provider = issuer.provider("@acme.test")
    user = (await issuer.sign_in(provider)).user

    assert user.admitted == "@acme.test"
    assert provider.admits(user)


async def test_nothing_more_is_asked_where_no_address_is_needed() -> None:
    issuer = FakeIssuer()
    await issuer.sign_in(issuer.provider("alice", "@acme.test"))

    assert "/userinfo" not in [request.url.path for request in issuer.requests]


@pytest.mark.parametrize(
    ("metadata", "issuer", "asked"),
    [
        (
            {"scopes_supported": ["openid", "offline_access"]},
            ISSUER,
            {"scope": ["openid profile calendar offline_access"], "prompt": ["consent"]},
        ),
        ({}, ISSUER, {"scope": ["openid profile calendar"]}),
        (
            {"issuer": "https://accounts.google.com"},
            "https://accounts.google.com",
            {"scope": ["openid profile calendar"], "access_type": ["offline"], "prompt": ["consent"]},
        ),
    ],
    ids=["offline_access", "not offered", "Google"],
)
async def test_a_credential_that_tools_keep_is_asked_for_so_that_it_can_be_renewed(
    metadata: dict[str, Any], issuer: str, asked: dict[str, list[str]]
) -> None:
    provider = FakeIssuer(metadata=metadata).provider(issuer=issuer, scopes=("calendar",), keeps_tokens=True)
    departure = await provider.depart(state="state", callback="https://mcp.example/oauth/callback")

    query = parse_qs(departure.url.partition("?")[2])
    assert {name: query[name] for name in ("scope", "prompt", "access_type") if name in query} == asked


async def test_tokens_are_renewed_and_the_old_refresh_token_stays_where_there_is_no_new_one() -> None:
    issuer = FakeIssuer(token_answer={"id_token": None, "access_token": "new", "expires_in": "60"})
    renewed = await issuer.provider().refresh(TokenSet("old", "refresh", NOW, "openid"))

    assert renewed == TokenSet("new", "refresh", NOW + 60, "openid")
