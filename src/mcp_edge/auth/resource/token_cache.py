"""Tokens that an issuer has signed (RFC 7519): verified once, then known by their hash until they expire.

It knows neither what a claim means nor who may call.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from mcp_edge.auth.identity.jwks import ALGORITHMS, InvalidToken, Jwks, claims_of, header_of
from mcp_edge.platform import Platform
from mcp_edge.user import User

LEEWAY_S = 30
"""Seconds by which the issuer's clock may differ from ours."""
KNOWN_S = 600
"""Seconds after which a token is verified again, so that a withdrawn key counts no longer than this."""
MAX_BYTES = 16 * 1024
MAX_NAME = 255
"""Most characters of a subject (OpenID Connect Core 1.0 §2) or a tenant."""
_KNOWN = 4096
_COMPACT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""A JWS in its compact form (RFC 7515 §3.1, §7.1)."""
_OPTIONS: Any = {
    "require": ["iss", "exp"],
    "enforce_minimum_key_length": True,
    # Who a token is for depends on the path; times are compared with the host's own clock.
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
}


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a verified token says: its user, its audiences, its end."""

    user: User
    audiences: frozenset[str]
    until: float
    """Epoch seconds."""


Read = Callable[[dict[str, Any], dict[str, Any]], Awaitable[VerifiedToken]]
"""Header and claims -> the verified token. It raises `InvalidToken`; its `until` is the `exp` of the claims."""


class TokenCache:
    """Verifies the tokens of one issuer, and remembers the verified ones for one process."""

    def __init__(self, platform: Platform, issuer: str, keys: Callable[[], Awaitable[Jwks]], read: Read) -> None:
        self._clock = platform.clock
        self._issuer = issuer
        self._keys = keys
        self._read = read
        self._known: dict[bytes, VerifiedToken] = {}

    async def user(self, token: bytes, audiences: frozenset[str]) -> User:
        """The user of a live token of this issuer that is for one of `audiences`.

        Raises:
            InvalidToken: the token is not one; the error says why.
            UpstreamError: the issuer's keys cannot be had.
        """
        digest = sha256(token).digest()
        verified = self._known.get(digest)
        if verified is None or self._clock() >= verified.until:
            self._known.pop(digest, None)
            verified = await self._remembered(token, digest)
        if verified.audiences.isdisjoint(audiences):
            raise InvalidToken("it is for somebody else")
        return verified.user

    async def _remembered(self, token: bytes, digest: bytes) -> VerifiedToken:
        if len(token) > MAX_BYTES:
            raise InvalidToken("it is too long")
        if not _COMPACT.fullmatch(token):  # Base64 is decoded leniently: one token would have many spellings
            raise InvalidToken("it is no signed token")
        verified = await self._verify(token)
        while len(self._known) >= _KNOWN:
            self._known.pop(next(iter(self._known)), None)  # the one that was verified first
        self._known[digest] = verified
        return verified

    async def _verify(self, token: bytes) -> VerifiedToken:
        header = header_of(token)
        alg, kid = header.get("alg"), header.get("kid")
        if alg not in ALGORITHMS:
            raise InvalidToken("its header asks for what is not accepted")
        key = await (await self._keys()).key(kid if isinstance(kid, str) else None, alg)
        if key is None:
            raise InvalidToken("the issuer has no such key")
        claims = claims_of(token, key, alg=alg, issuer=self._issuer, options=_OPTIONS)
        until = self._times(claims)
        verified = await self._read(header, claims)
        return VerifiedToken(verified.user, verified.audiences, min(until, self._clock() + KNOWN_S))

    def _times(self, claims: dict[str, Any]) -> float:
        """When the token ends, in epoch seconds (RFC 7519 §4.1.4 to §4.1.6)."""
        now = self._clock()
        for name in ("exp", "nbf", "iat"):
            value = claims.get(name, now)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidToken(f"{name} is not a time")
            # Written, here and below, so that NaN, which compares with nothing, is refused.
            if name != "exp" and not value <= now + LEEWAY_S:
                raise InvalidToken(f"{name} lies in the future")
        end = claims["exp"] + LEEWAY_S
        if not now < end:
            raise InvalidToken("it has expired")
        return end


def is_name(value: str) -> bool:
    """Whether a claim can name somebody: a text of at most 255 characters, all of them visible. Names are compared
    exactly."""
    return 0 < len(value) <= MAX_NAME and value.isprintable()


def texts(value: Any) -> frozenset[str]:
    """A claim that is one text or a list of texts, such as `aud` (RFC 7519 §4.1.3); anything else has none."""
    if isinstance(value, str):
        return frozenset((value,))
    items: list[Any] = cast("list[Any]", value) if isinstance(value, list) else []
    return frozenset(item for item in items if isinstance(item, str))


def says_something(value: Any) -> bool:
    """Whether a claim says anything: a text or a list of texts that are not blank, as Entra's `"azpacr": "1"` is."""
    return any(word.strip(" ") for word in texts(value))


def text(claims: dict[str, Any], *names: str) -> str:
    """The first of the named claims that is a text; empty if none is."""
    return next((value for name in names if isinstance(value := claims.get(name), str)), "")
