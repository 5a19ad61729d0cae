"""The public keys of an issuer (RFC 7517), cached for a bounded time and fetched again when it rotates them.

It verifies nothing itself; who verifies a token asks here for the key that its header names.
"""

from __future__ import annotations

import math
import time
from typing import Any, cast

import anyio
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.outbound import exchange, is_protected, json_object
from mcp_edge.platform import Platform

ALGORITHMS: dict[str, str] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""Algorithms that are accepted anywhere, and the type of their keys. None is symmetric: a public key is no secret."""

FRESH_S = 600
"""Seconds for which the keys are used without another look: so long a key that the issuer has withdrawn may last."""
STALE_S = 3600
"""Seconds for which they are used when the issuer cannot be reached."""
UNKNOWN_S = 60
"""Least seconds between two fetches on account of a key id that nobody knows: anybody can invent one."""
RETRY_S = 5
"""Seconds after a failure in which nobody asks the issuer again."""
TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 64


class Jwks:
    """The keys at one URL, for one process."""

    def __init__(self, platform: Platform, url: str) -> None:
        """`url` is https, or http on loopback.

        Raises:
            ConfigurationError: it is neither.
        """
        if not is_protected(url):
            raise ConfigurationError(f"The keys at {url} cannot be trusted: the URL must be https.")
        self._platform = platform
        self._url = url
        self._keys: list[dict[str, Any]] = []
        self._made: dict[tuple[int, str], PyJWK | None] = {}
        self._generation = 0
        self._fetched_at = self._searched_at = self._failed_at = -math.inf
        self._failure = ""
        self._fetching_at = -math.inf

    async def key(self, kid: str | None, alg: str) -> PyJWK | None:
        """The key that a token's header names, or None: there is none, or none that fits `alg`.

        A token without a `kid` is verified with the only key that fits its algorithm.

        Raises:
            UpstreamError: the keys cannot be fetched, and none of the last hour are known.
        """
        if alg not in ALGORITHMS:
            return None
        await self._refresh()
        found = self._find(kid, alg)
        if found is None and self._may_search():
            await self._fetch(self._generation)
            found = self._find(kid, alg)
        return found

    async def _refresh(self) -> None:
        if self._within(FRESH_S, self._fetched_at):
            return
        try:
            await self._fetch(self._generation)
        except UpstreamError:
            if not self._within(STALE_S, self._fetched_at):
                raise

    def _may_search(self) -> bool:
        """Whether it is time to look for an unknown key; those who ask while somebody looks wait for what he finds."""
        if not self._fetching() and self._within(UNKNOWN_S, self._searched_at):
            return False
        self._searched_at = self._platform.clock()
        return True

    def _within(self, seconds: float, since: float) -> bool:
        return 0 <= self._platform.clock() - since < seconds

    def _fetching(self) -> bool:
        return time.monotonic() - self._fetching_at < TIMEOUT_S + 1

    async def _fetch(self, seen: int) -> None:
        """Fetch the keys, or wait while another request does so. `seen` is the generation that does not suffice.

        No lock: the requests may be on different event loops, and a host may drop one without another word.
        """
        while self._fetching():  # noqa: ASYNC110 # an event would belong to one loop
            await anyio.sleep(0.01)
        if self._generation != seen:
            return
        if self._within(RETRY_S, self._failed_at):
            raise UpstreamError(self._failure)
        self._fetching_at = time.monotonic()
        try:
            keys = await self._load()
        except UpstreamError as e:
            self._failed_at, self._failure = self._platform.clock(), str(e)
            raise
        finally:
            self._fetching_at = -math.inf
        self._keys, self._made = [key for key in keys if _verifies(key)], {}
        self._fetched_at = self._platform.clock()
        self._generation += 1

    async def _load(self) -> list[dict[str, Any]]:
        client = self._platform.http()
        request = client.build_request("GET", self._url, headers={"accept": "application/json"}, timeout=TIMEOUT_S)
        whose = "The issuer's key endpoint"
        response = await exchange(client, request, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, whose=whose)
        if response.status_code != 200:
            raise UpstreamError(f"{whose} answered with status {response.status_code}.")
        keys = json_object(response, whose).get("keys")
        if not isinstance(keys, list):
            raise UpstreamError(f"{whose}'s answer does not have the expected form.")
        return [cast("dict[str, Any]", k) for k in cast("list[Any]", keys)[:MAX_KEYS] if isinstance(k, dict)]

    def _find(self, kid: str | None, alg: str) -> PyJWK | None:
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
