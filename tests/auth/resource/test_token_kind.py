"""Access tokens of the usual authorization servers open this server, and ID tokens do not, whatever is in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from mcp_edge.auth.modes import choose_mode
from mcp_edge.auth.scopes import Scopes
from mcp_edge.errors import Unauthenticated
from tests.auth.resource.issuer import HERE, NOW, RSA, Issuer, scopes, user_of

pytestmark = pytest.mark.anyio

Claims = dict[str, Any]

APP = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
CLIENT = "0oa1client2id3"
POOL_APP = "1h57kf5cpq17m0eml12EXAMPLE"
TENANT = {"tid": "11111111-2222-3333-4444-555555555555", "oid": "5b1b3e1c-0000-0000-0000-000000000000"}
PERSON = {"name": "Alice", "email": "alice@acme.test", "email_verified": True, "preferred_username": "alice@acme.test"}
SIGNED_IN = {"auth_time": int(NOW), "amr": ["pwd", "mfa"], "sid": "8f0c4bd5"}


@dataclass(frozen=True)
class Signs:
    """What one provider signs for one user: claims beside `iss`, `iat` and `exp`."""

    audience: str
    """What MCP_JWT_AUDIENCE names; an ID token for a client of this id must not pass either."""
    access: tuple[Claims, ...]
    identity: tuple[Claims, ...]
    apps_own: tuple[Claims, ...] = ()
    """Access tokens that an app got for itself, and that grant it nothing."""
    typ: str | None = "JWT"
    """Of the header of its access tokens."""
    url: str = field(default="https://issuer.test")


PROVIDERS: dict[str, Signs] = {
    "Entra v2": Signs(
        APP,
        (
            {"aud": APP, "sub": "s", "azp": "c", "azpacr": "0", "scp": "notes:read", "ver": "2.0", **TENANT},
            # An app may call its own API: client and audience are one.
            {"aud": APP, "sub": "s", "azp": APP, "azpacr": "1", "scp": "x", "roles": ["Admin"], "sid": "1", **TENANT},
            # Client credentials: app roles and no scope.
            {"aud": APP, "sub": "s", "azp": "c", "azpacr": "1", "roles": ["Notes.Read"], "ver": "2.0", **TENANT},
            {"aud": APP, "sub": "s", "azp": "c", "idtyp": "app", "roles": ["Notes.Read"], **TENANT},
            {"aud": APP, "sub": "s", "azp": "c", "azpacr": "0", "idtyp": "user", "scp": "as_user", **TENANT},
        ),
        (
            {"aud": APP, "sub": "s", "roles": ["Admin"], "name": "Alice", "ver": "2.0", "rh": "r", **TENANT},
            {"aud": APP, "sub": "s", "roles": [], **TENANT},
            {"aud": APP, "sub": "s", "roles": "Admin", "groups": ["g"], "wids": ["w"], **PERSON, **TENANT},
            {"aud": APP, "sub": "s", "roles": ["Admin"], "acct": 0, "login_hint": "l", "xms_edov": True, **TENANT},
            {"aud": APP, "sub": "s", "roles": ["Admin"], "nonce": "n", **TENANT},
            {"aud": APP, "sub": "s", "roles": ["Admin"], "sid": "1", "auth_time": int(NOW), **TENANT},
            {"aud": APP, "sub": "s", "roles": ["Admin"], "acrs": ["c1"], "amr": ["pwd"], **TENANT},
        ),
        (
            {"aud": APP, "sub": "s", "azp": CLIENT, "azpacr": "2", "ver": "2.0", **TENANT},
            {"aud": APP, "sub": "s", "azp": CLIENT, "azpacr": "1", "roles": [], "scp": " ", **TENANT},
            {"aud": APP, "sub": "s", "azp": CLIENT, "idtyp": "app", "roles": "", **TENANT},
            {"aud": APP, "sub": "s", "azp": CLIENT, "idtyp": "App", "scope": "openid", "roles": [" "], **TENANT},
            {"aud": APP, "sub": "s", "azp": CLIENT, "idtyp": "device", **TENANT},
            {"aud": APP, "sub": TENANT["oid"].upper(), "azp": CLIENT, "idtyp": ["app"], **TENANT},
            {"aud": APP, "sub": TENANT["oid"], "azp": CLIENT, "scope": "openid", **TENANT},
        ),
    ),
    "Entra v1": Signs(
        f"api://{APP}",
        (
            {"aud": f"api://{APP}", "sub": "s", "appid": "c", "appidacr": "0", "scp": "x", "acr": "1", "amr": ["pwd"]},
            {"aud": f"api://{APP}", "sub": "s", "appid": "c", "appidacr": "1", "roles": ["Notes.Read"], "idp": "i"},
        ),
        ({"aud": f"api://{APP}", "sub": "s", "roles": ["Admin"], "amr": ["pwd"], "upn": "alice@acme.test", **TENANT},),
        ({"aud": f"api://{APP}", "sub": "s", "appid": CLIENT, "appidacr": "1", "idp": "i"},),
    ),
    "Auth0": Signs(
        HERE,
        (
            {"aud": [HERE, "https://acme.auth0.test/userinfo"], "sub": "auth0|1", "azp": CLIENT, "scope": "openid"},
            {"aud": HERE, "sub": "c@clients", "azp": CLIENT, "gty": "client-credentials", "scope": "x"},
            {"aud": HERE, "sub": "c@clients", "azp": CLIENT, "gty": "client-credentials", "permissions": ["x"]},
            {"aud": HERE, "sub": "auth0|1", "azp": CLIENT, "permissions": ["notes:read"]},
        ),
        (
            {"aud": HERE, "sub": "auth0|1", "sid": "s", "nonce": "n", "at_hash": "h", **PERSON},
            {"aud": HERE, "sub": "auth0|1", "sid": "s", "org_id": "o", "updated_at": "u", **PERSON},
            {"aud": HERE, "sub": "auth0|1", "auth_time": int(NOW), "amr": ["mfa"], "acr": "a", **PERSON},
            {"aud": [HERE, "b"], "azp": HERE, "sub": "auth0|1", **PERSON},
            {"aud": HERE, "azp": HERE, "sub": "auth0|1", "permissions": ["notes:read"], **PERSON},
            {"aud": HERE, "sub": "auth0|1", "permissions": ["notes:read"], **PERSON},
            {"aud": HERE, "azp": CLIENT, "sub": "auth0|1", "permissions": [], **PERSON},
            {"aud": HERE, "azp": CLIENT, "sub": "auth0|1", "permissions": ["notes:read"], "sid": "s", **PERSON},
        ),
        (
            {"aud": HERE, "sub": "c@clients", "azp": CLIENT, "gty": "client-credentials"},
            {"aud": HERE, "sub": "c@clients", "azp": CLIENT, "gty": "client-credentials", "permissions": []},
            {"aud": HERE, "sub": "c@clients", "azp": CLIENT, "gty": "client-credentials", "scope": "other:read"},
            {"aud": HERE, "sub": f"{CLIENT}@clients", "azp": CLIENT, "scope": "openid"},
        ),
    ),
    "Okta": Signs(
        "api://default",
        (
            {"aud": "api://default", "sub": "a@acme.test", "cid": CLIENT, "uid": "0", "scp": ["openid"], **SIGNED_IN},
            {"aud": "api://default", "sub": CLIENT, "cid": CLIENT, "scp": ["notes:read"], "ver": 1, "jti": "AT.1"},
        ),
        (
            {"aud": "api://default", "sub": "0", "idp": "i", "ver": 1, "jti": "ID.1", **SIGNED_IN, **PERSON},
            {"aud": "api://default", "sub": "0", "idp": "i", "groups": ["Everyone"], "at_hash": "h", **PERSON},
        ),
        ({"aud": "api://default", "sub": CLIENT, "cid": CLIENT, "ver": 1, "jti": "AT.1"},),
    ),
    "Cognito": Signs(
        POOL_APP,
        (
            {
                "sub": "s", "token_use": "access", "client_id": POOL_APP, "scope": "openid",
                "auth_time": int(NOW), "origin_jti": "o", "username": "alice", "cognito:groups": ["g"], "version": 2,
            },
            {"sub": "s", "token_use": "access", "client_id": POOL_APP, "auth_time": int(NOW)},
            {"sub": "s", "token_use": "access", "client_id": "c", "aud": POOL_APP, "scope": "x"},
        ),
        (
            {
                "sub": "s", "token_use": "id", "aud": POOL_APP, "auth_time": int(NOW),
                "cognito:username": "alice", "cognito:groups": ["g"], "cognito:roles": ["r"], **PERSON,
            },
            {"sub": "s", "token_use": "id", "aud": POOL_APP, "scope": "notes:read", "client_id": "c"},
            {"sub": "s", "token_use": "id", "client_id": POOL_APP, "scope": "notes:read"},
            {"sub": "s", "token_use": None, "aud": POOL_APP, "scope": "notes:read"},
        ),
        ({"sub": CLIENT, "token_use": "access", "client_id": CLIENT, "aud": POOL_APP, "scope": "others/read"},),
    ),
    "Keycloak": Signs(
        "account",
        (
            {"aud": "account", "sub": "s", "typ": "Bearer", "azp": CLIENT, "scope": "profile", "sid": "1", **PERSON},
            {"aud": ["account", "b"], "sub": "s", "typ": "Bearer", "azp": CLIENT, "sid": "1", "acr": "1"},
        ),
        (
            {"aud": "account", "sub": "s", "typ": "ID", "azp": "account", "at_hash": "h", "sid": "1", **PERSON},
            {"aud": "account", "sub": "s", "typ": "ID", "azp": "account", "scope": "profile", "roles": ["a"]},
            {"aud": "account", "sub": "s", "typ": "id", "azp": CLIENT, "client_id": CLIENT, "scope": "profile"},
            {"aud": "account", "sub": "s", "typ": "Refresh", "azp": CLIENT, "scope": "profile", "sid": "1"},
            {"aud": "account", "sub": "s", "typ": "Logout", "azp": CLIENT, "sid": "1"},
            {"aud": "account", "sub": "s", "typ": "DPoP", "azp": CLIENT, "scope": "profile"},
            {"aud": "account", "sub": "s", "typ": ["Bearer"], "azp": CLIENT, "scope": "profile"},
        ),
        (
            {
                "aud": "account", "sub": "s", "typ": "Bearer", "azp": CLIENT, "scope": "profile email",
                "preferred_username": f"service-account-{CLIENT}",
            },
        ),
    ),
    "Google": Signs(
        HERE,
        (),  # they are opaque
        (
            {"aud": HERE, "azp": HERE, "sub": "1", "hd": "acme.test", "at_hash": "h", **PERSON},
            # A phone's app gets one for its backend, and a service account one for any URL.
            {"aud": HERE, "azp": "android.apps.test", "sub": "1", "hd": "acme.test", **PERSON},
            {"aud": HERE, "azp": "1", "sub": "1", "email": "robot@p.iam.test", "email_verified": True},
            {"aud": HERE, "sub": "1", "google": {"compute_engine": {}}, "email": "robot@p.iam.test"},
        ),
    ),
    "PingOne": Signs(
        HERE,
        (
            {"aud": [HERE], "sub": "s", "client_id": CLIENT, "scope": "openid", "env": "e", "org": "o", **SIGNED_IN},
        ),
        (
            {"aud": HERE, "sub": "s", "acr": "Single_Factor", "env": "e", "org": "o", "p1.rid": "r", **SIGNED_IN},
            {"aud": HERE, "sub": "s", "acr": "a", "at_hash": "h", "s_hash": "h", "pi.sri": "i", "auth_time": int(NOW)},
        ),
        ({"aud": [HERE], "client_id": CLIENT, "sub": CLIENT, "env": "e", "org": "o"},),
    ),
    "FusionAuth": Signs(
        APP,
        ({"aud": APP, "sub": "s", "scope": "openid", "tty": "at", "gty": ["authorization_code"], "sid": "1"},),
        (
            {"aud": APP, "sub": "s", "scope": "openid", "tty": "id", "roles": ["a"], "sid": "1", **PERSON},
            {"aud": APP, "sub": "s", "roles": ["a"], "gty": ["authorization_code"], "sid": "1", **PERSON},
        ),
    ),
    "others by RFC 9068": Signs(
        HERE,
        ({"aud": HERE, "sub": "s", "client_id": CLIENT, **SIGNED_IN}, {"aud": HERE, "sub": "s"}),
        ({"aud": HERE, "sub": "s", "client_id": CLIENT, **SIGNED_IN}, {"aud": HERE, "sub": "s"}),
        ({"aud": HERE, "sub": CLIENT, "client_id": CLIENT},),
        typ="at+jwt",
    ),
    "a client whose id is a URL": Signs(
        "https://app.test/client.json",
        ({"aud": "https://app.test/client.json", "sub": "s", "client_id": CLIENT, "scope": "notes:read"},),
        (
            {"aud": "https://app.test/client.json", "sub": "s", **PERSON},
            {"aud": ["https://app.test/client.json"], "azp": "https://app.test/client.json", "sub": "s"},
            {"aud": ["https://app.test/client.json", "https://other.test"], "azp": "https://other.test", "sub": "s"},
        ),
    ),
    "claims that say nothing": Signs(
        HERE,
        ({"aud": HERE, "sub": "s", "scope": "notes:read"}, {"aud": HERE, "sub": "s", "scp": ["notes:read"]}),
        tuple(
            {"aud": HERE, "sub": "s", name: value}
            for name in ("scope", "scp", "client_id", "appid", "azpacr", "appidacr", "gty", "cid", "idtyp")
            for value in ("", " ", [], [""], [7], {}, {"a": "b"}, None, True, 1)
        ),
    ),
}  # fmt: skip

CASES = [
    (name, kind, number)
    for name, signs in PROVIDERS.items()
    for kind, tokens in (("access", signs.access), ("identity", signs.identity))
    for number in range(len(tokens))
]
APPS_OWN = [(name, number) for name, signs in PROVIDERS.items() for number in range(len(signs.apps_own))]


async def undeclared() -> Scopes:
    """The scopes of a server that declares none."""
    return Scopes()


def signed(issuer: Issuer, claims: Claims, typ: str | None = "JWT") -> str:
    """A token with these claims, made now."""
    times = {"iss": issuer.url, "iat": int(NOW), "exp": int(NOW) + 600}
    return jwt.encode({**times, **claims}, RSA, algorithm="RS256", headers={"kid": "rsa", "typ": typ})


@pytest.mark.parametrize(("provider", "kind", "number"), CASES)
async def test_an_access_token_is_let_in_and_what_else_its_issuer_signs_is_not(
    provider: str, kind: str, number: int
) -> None:
    signs, issuer = PROVIDERS[provider], Issuer()
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url, jwt_audience=signs.audience)
    claims = (signs.access if kind == "access" else signs.identity)[number]
    token = signed(issuer, claims, signs.typ if kind == "access" else "JWT")
    if kind == "access":
        assert (await user_of(mode, token)).subject == claims["sub"]
        return
    with pytest.raises(Unauthenticated) as refused:
        await user_of(mode, token)
    assert 'error="invalid_token"' in refused.value.headers["www-authenticate"]


@pytest.mark.parametrize("declares", [True, False], ids=["with scopes", "without scopes"])
@pytest.mark.parametrize(("provider", "number"), APPS_OWN)
async def test_what_an_app_got_for_itself_and_grants_it_nothing_is_let_in_only_where_the_operator_says_so(
    provider: str, number: int, declares: bool, caplog: pytest.LogCaptureFixture
) -> None:
    signs, issuer = PROVIDERS[provider], Issuer()
    claims = signs.apps_own[number]

    async def subject(clients: str, **more: Any) -> str:
        settings = {"auth": "jwt", "jwt_issuer": issuer.url, "jwt_audience": signs.audience, "jwt_clients": clients}
        mode = choose_mode(issuer.platform(**settings), scopes if declares else undeclared)
        return (await user_of(mode, signed(issuer, {**claims, **more}, signs.typ))).subject

    for clients in ("", "another", CLIENT[:-1]):
        with caplog.at_level("WARNING", "mcp_edge.audit"), pytest.raises(Unauthenticated) as refused:
            await subject(clients)
        assert 'error="invalid_token"' in refused.value.headers["www-authenticate"]
        assert f"the client {CLIENT} got it for itself" in caplog.messages[-1]
    assert await subject(CLIENT) == await subject(f"another,{CLIENT}") == await subject("*") == claims["sub"]
    assert await subject("", roles=["Notes.Read"]) == claims["sub"]
    assert await subject("", permissions=["notes:read" if declares else "mcp"]) == claims["sub"]


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "auth0|1", "azp": CLIENT, "scope": "openid profile", **PERSON},
        {"sub": "s", "azp": CLIENT, "azpacr": "0", "scp": "access_as_user", **TENANT, **PERSON},
        {"sub": "s", "azp": CLIENT, "idtyp": "user", **TENANT},
        {"sub": "s", "typ": "Bearer", "azp": CLIENT, "scope": "", "sid": "1", **PERSON},
        {"sub": "s", "token_use": "access", "client_id": CLIENT, "username": "alice", "scope": "openid"},
    ],
)
async def test_a_users_token_is_let_in_by_a_server_that_declares_no_scopes(claims: Claims) -> None:
    issuer = Issuer()
    mode = choose_mode(issuer.platform(auth="jwt", jwt_issuer=issuer.url, jwt_audience="api"), undeclared)
    assert (await user_of(mode, signed(issuer, {"aud": "api", **claims}))).subject == claims["sub"]


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"])
@pytest.mark.parametrize(
    "other", ["at+jwt ", "id+jwt", "at\u212ajwt", "application/", "\u00aat+jwt", "jwt\u00a0", "", 7]
)
async def test_a_header_says_what_it_is_in_ascii_of_either_case(typ: str, other: Any) -> None:
    issuer = Issuer()
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url)
    claims = issuer.claims(client_id=None, scope=None)
    tokens = [
        jwt.encode(claims, RSA, algorithm="RS256", headers={"kid": "rsa", "typ": value}) for value in (typ, other)
    ]

    assert (await user_of(mode, tokens[0])).subject == "alice"
    with pytest.raises(Unauthenticated):
        await user_of(mode, tokens[1])


@pytest.mark.parametrize("white", ["\u00a0", "\u0085", "\u2003", "\u001c", "\u001f", "\u000b", "\u000c", "\t", "\n"])
async def test_only_a_space_parts_one_scope_from_the_next(white: str) -> None:
    issuer = Issuer()
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url)
    for name in ("scope", "scp", "permissions"):
        glued = await user_of(mode, issuer.token(**{"scope": None, name: f"x{white}notes:write"}))
        parted = await user_of(mode, issuer.token(**{"scope": None, name: "x notes:write"}))
        assert glued.scopes == {f"x{white}notes:write"}
        assert parted.scopes == {"x", "notes:read", "notes:write"}


@pytest.mark.parametrize("claim", ["sub", "tid", "org_id"])
@pytest.mark.parametrize("name", ["alice\u00a0", "\u0085alice", "al\u200bice", "alice\n", "\ud800", "a" * 256])
async def test_a_name_of_which_something_cannot_be_seen_names_nobody(claim: str, name: str) -> None:
    issuer = Issuer()
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url)
    with pytest.raises(Unauthenticated):
        await user_of(mode, issuer.token(**{claim: name}))


async def test_names_are_compared_exactly() -> None:
    issuer = Issuer()
    mode = issuer.mode(auth="jwt", jwt_issuer=issuer.url)
    names = [
        "mike",
        "Mike",
        "mi\u212ae",
        "miKe",
        " mike",
        "mike ",
        "m\u0131ke",
        "stra\u00dfe",
        "strasse",
        "\uff11",
        "1",
    ]
    users = [await user_of(mode, issuer.token(sub=name)) for name in names]

    assert [user.subject for user in users] == names
    assert len({user.principal for user in users}) == len(names)
