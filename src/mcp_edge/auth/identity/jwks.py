"""The public keys of an issuer (RFC 7517), found again when it rotates them.

Who verifies a token reads its header, asks here for the key that the header names, and reads the claims with it.
"""

from __future__ import annotations

import math
from typing import Any, cast

import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from mcp_edge.auth.identity.provider_metadata import ProviderDocument
from mcp_edge.errors import EdgeError, UpstreamError
from mcp_edge.platform import Platform

ALGORITHMS: dict[str, str] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""Algorithms that are accepted anywhere, and the type of their keys. None is symmetric: a public key is no secret."""

UNKNOWN_S = 60
"""Least seconds between two fetches on account of a key id that nobody knows: anybody can invent one."""
MAX_KEYS = 64

_NOT_SIGNED = (PyJWTError, ValueError, TypeError, RecursionError)
"""What PyJWT raises on a token that somebody has made up; the last one where its JSON is nested deeply."""
_WHOSE = "The issuer's key endpoint"


class InvalidToken(EdgeError):
    """A token is not good here: nobody has signed it, or it says something else. The text says why, for the log."""


def header_of(token: str | bytes) -> dict[str, Any]:
    """The header of a token, which nobody has verified yet.

    Raises:
        InvalidToken: it has none, or one that asks for an extension: those must be understood (RFC 7515 §4.1.11).
    """
    try:
        header = jwt.get_unverified_header(token)
    except _NOT_SIGNED as e:
        raise InvalidToken(type(e).__name__) from e
    if "crit" in header:
        raise InvalidToken("its header asks for what is not accepted")
    return header


def claims_of(
    token: str | bytes, key: PyJWK, *, alg: str, issuer: str, audience: str | None = None, options: Any
) -> dict[str, Any]:
    """The claims of a token that `key` has signed; `options` are PyJWT's.

    Raises:
        InvalidToken: it is another's, or not for this audience.
    """
    try:
        return jwt.decode(token, key, algorithms=[alg], audience=audience, issuer=issuer, options=options)
    except _NOT_SIGNED as e:
        raise InvalidToken(type(e).__name__) from e


class Jwks:
    """The keys of an issuer (JWK Set, RFC 7517 §5) at one URL, cached for one process."""

    def __init__(self, platform: Platform, url: str) -> None:
        """`url` is https, or http on loopback.

        Raises:
            ConfigurationError: it is neither.
        """
        self._platform = platform
        self._document = ProviderDocument(platform, url, _Keys.read, whose=_WHOSE)
        self._searched_at = -math.inf

    async def key(self, kid: str | None, alg: str) -> PyJWK | None:
        """The key that a token's header names, or None: there is none, or none that fits `alg`.

        A token without a `kid` is verified with the only key that fits its algorithm.

        Raises:
            UpstreamError: the keys cannot be fetched, and none of the last hour are known.
        """
        if alg not in ALGORITHMS:
            return None
        keys = await self._document.get()
        found = keys.find(kid, alg)
        if found is None and self._may_search():
            found = (await self._document.renewed(keys)).find(kid, alg)
        return found

    def _may_search(self) -> bool:
        """Whether to fetch the keys again for an unknown key id. While a fetch is under way, others wait for it."""
        now = self._platform.clock()
        if not self._document.renewing and 0 <= now - self._searched_at < UNKNOWN_S:
            return False
        self._searched_at = now
        return True


class _Keys:
    """One version of a JWK Set. A key is parsed when it is first needed."""

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        self._keys = keys
        self._made: dict[tuple[int, str], PyJWK | None] = {}

    @classmethod
    def read(cls, document: dict[str, Any]) -> _Keys:
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise UpstreamError(f"{_WHOSE}'s answer does not have the expected form.")
        known = [cast("dict[str, Any]", k) for k in cast("list[Any]", keys)[:MAX_KEYS] if isinstance(k, dict)]
        return cls([key for key in known if _verifies(key)])

    def find(self, kid: str | None, alg: str) -> PyJWK | None:
        fitting = [
            n
            for n, key in enumerate(self._keys)
            if key.get("kty") == ALGORITHMS[alg]
            and key.get("alg", alg) == alg
            and (kid is None or key.get("kid") == kid)
        ]
        if len(fitting) != 1:
            return None
        place = (fitting[0], alg)
        if place not in self._made:
            self._made[place] = _made(self._keys[fitting[0]], alg)
        return self._made[place]


def _verifies(key: dict[str, Any]) -> bool:
    """Whether a key is for signatures (RFC 7517 §4.2, §4.3)."""
    operations = key.get("key_ops")
    return key.get("use", "sig") == "sig" and (not isinstance(operations, list) or "verify" in operations)


def _made(key: dict[str, Any], alg: str) -> PyJWK | None:
    try:
        return PyJWK(key, algorithm=alg)
    except (PyJWTError, ValueError, TypeError):  # not a key, or one that the algorithm cannot use
        return None
