"""Verifies an ID token (OpenID Connect Core 1.0 §3.1.3.7). It knows no HTTP."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Any

from mcp_edge.auth.identity.jwks import ALGORITHMS, InvalidToken, Jwks, claims_of, header_of
from mcp_edge.auth.identity.provider import SignInRefused
from mcp_edge.text.ascii import lowered

LEEWAY_S = 30
"""How far the provider's clock may be from ours."""
MAX_SUBJECT = 255

_OPTIONS: Any = {
    "require": ["iss", "sub", "aud", "exp", "iat"],
    "enforce_minimum_key_length": True,
    # These are compared below with the host's own clock.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


async def verified(
    token: str,
    keys: Jwks,
    *,
    algorithms: Collection[str],
    issuer: str,
    client_id: str,
    nonce: str,
    now: float,
) -> dict[str, Any]:
    """The claims of a token that this issuer made for this client and this sign-in.

    Raises:
        SignInRefused: it is not such a token; the reason is for the log.
        UpstreamError: the issuer's keys cannot be had.
    """
    try:
        header = header_of(token)
        alg, kid = header.get("alg"), header.get("kid")
        if alg not in ALGORITHMS or alg not in algorithms:
            raise _refused("the algorithm is not one that the issuer has announced")
        if lowered(str(header.get("typ", "JWT"))) != "jwt":
            raise _refused("it is a token of another type")
        key = await keys.key(kid if isinstance(kid, str) else None, alg)
        if key is None:
            raise _refused("the issuer has no such key")
        claims = claims_of(token, key, alg=alg, issuer=issuer, audience=client_id, options=_OPTIONS)
    except InvalidToken as e:
        raise _refused(str(e)) from e
    _check_times(claims, now)
    _check_parties(claims, client_id)
    if not isinstance(claims.get("nonce"), str) or not hmac.compare_digest(claims["nonce"].encode(), nonce.encode()):
        raise _refused("the nonce is not that of this sign-in")
    return claims


def _check_times(claims: dict[str, Any], now: float) -> None:
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, now)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _refused(f"{name} is not a time")
        # Written so that NaN, which compares with nothing, is refused.
        if name == "exp" and not value > now - LEEWAY_S:
            raise _refused("it has expired")
        if name != "exp" and not value <= now + LEEWAY_S:
            raise _refused(f"{name} lies in the future")


def _check_parties(claims: dict[str, Any], client_id: str) -> None:
    """`azp` names the client that the token is for; with several audiences it must."""
    audiences = claims["aud"]
    several = isinstance(audiences, list) and len(audiences) > 1  # pyright: ignore[reportUnknownArgumentType] # JSON
    if ("azp" in claims or several) and claims.get("azp") != client_id:
        raise _refused("azp is another client")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise _refused("sub is not a subject")


def _refused(reason: str) -> SignInRefused:
    return SignInRefused("The identity provider's answer could not be verified. Start again.", f"id_token: {reason}")
