"""Tells access tokens from what else their issuer signs, above all ID tokens (RFC 9068 §4, RFC 8725 §3.11). Pure.

An ID token says who has signed in at some app. Whoever runs that app has it, and it must not open this server. Few
issuers write `at+jwt` into an access token's header, so the claims must show what it is: something that only an access
token has, and nothing that only an ID token has. Roles, permissions, groups, a name or an address show nothing, since
an issuer can be told to put them into either; nor does the audience, because a client's id may be a URL.
"""

from __future__ import annotations

from typing import Any

from mcp_edge.auth.identity.jwks import InvalidToken
from mcp_edge.auth.resource.token_cache import says_something, text
from mcp_edge.text.ascii import lowered

_OF_OTHERS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
"""Claims of ID tokens (OpenID Connect Core 1.0 §2, §3.3.2.11, Financial-grade API 1.0 part 2 §5.1) and of logout tokens
(OpenID Connect Back-Channel Logout 1.0 §2.4)."""
_SAID = {"token_use": "access", "typ": "bearer", "tty": "at"}
"""Claims in which an issuer says what a token is, and what it says of an access token: Cognito's, Keycloak's (others of
its are `ID`, `Refresh` and `Logout`) and FusionAuth's."""
_SCOPES = ("scope", "scp")
_OF_CLIENTS = ("client_id", "cid", "appid", "azpacr", "appidacr", "gty", "idtyp")
"""Claims of the client that an access token was given to, or of how it got it: RFC 9068's, Okta's, Entra's (which has
`azpacr` or `appidacr` in every access token, and `idtyp`) and Auth0's."""
_OF_SIGN_INS = frozenset({"auth_time", "amr", "sid"})
"""Claims of a user's sign-in. ID tokens have them; access tokens may too, and then they have a scope."""


def refuse_other_kinds(header: dict[str, Any], claims: dict[str, Any], audiences: frozenset[str]) -> None:
    """Refuse a token unless its header and claims show that it is an access token.

    Raises:
        InvalidToken: the text says what is missing or wrong.
    """
    kind = header.get("typ", "JWT")
    kind = lowered(kind).removeprefix("application/") if isinstance(kind, str) else ""
    if kind == "at+jwt":  # RFC 9068 §2.1: nothing is left to tell apart
        return
    if kind != "jwt" or not _OF_OTHERS.isdisjoint(claims):
        raise InvalidToken("it is no access token")
    said = {name: _small(claims[name]) for name in _SAID if name in claims}
    if any(value != _SAID[name] for name, value in said.items()):
        raise InvalidToken("it is no access token")
    if said or any(says_something(claims.get(name)) for name in _SCOPES):
        return
    if not _OF_SIGN_INS.isdisjoint(claims):
        raise InvalidToken("it tells of a sign-in and of no scope, as an ID token does")
    if not any(says_something(claims.get(name)) for name in _OF_CLIENTS) and not _is_auth0s(claims, audiences):
        raise InvalidToken("nothing shows that it is an access token")


def _is_auth0s(claims: dict[str, Any], audiences: frozenset[str]) -> bool:
    """Whether it is Auth0's access token for a user with permissions and no scope. Such a token names a client and is
    for somebody else; an ID token is for its client."""
    client = text(claims, "azp")
    return bool(client) and client not in audiences and says_something(claims.get("permissions"))


def _small(value: Any) -> Any:
    return lowered(value) if isinstance(value, str) else None
