"""A JSON document of an issuer (its metadata, its keys), kept for a bounded time. It knows no token."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import anyio

from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.outbound.fetch import exchange, is_protected, json_object
from mcp_edge.platform import Platform
from mcp_edge.text.masking import masked_url

T = TypeVar("T")

FRESH_S = 600
"""Seconds for which a document is used without another look: so long a key that the issuer has withdrawn may last."""
STALE_S = 3600
"""Seconds for which it is used when the issuer cannot be reached."""
RETRY_S = 5
"""Seconds after a failure in which nobody asks the issuer again."""
TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024


class ProviderDocument(Generic[T]):
    """The document at one URL, as `read` understands it, for one process.

    `read` raises `UpstreamError` for a document that cannot be used. `whose` begins the sentence of each error.
    """

    def __init__(self, platform: Platform, url: str, read: Callable[[dict[str, Any]], T], *, whose: str) -> None:
        """`url` is https, or http on loopback.

        Raises:
            ConfigurationError: it is neither.
        """
        if not is_protected(url):
            raise ConfigurationError(f"{whose} at {masked_url(url)} cannot be trusted: the URL must be https.")
        self._platform = platform
        self._url = url
        self._read = read
        self._whose = whose
        self._held: T | None = None
        self._fetched_at = self._failed_at = self._fetching_at = -math.inf
        self._failure = ""

    async def get(self) -> T:
        """The document, at most `FRESH_S` old, or `STALE_S` while the issuer cannot be reached.

        Raises:
            UpstreamError: it cannot be had.
        """
        held = self._held
        if held is not None and self._within(FRESH_S, self._fetched_at):
            return held
        try:
            return await self.renewed(held)
        except UpstreamError:
            if held is None or not self._within(STALE_S, self._fetched_at):
                raise
            return held

    @property
    def renewing(self) -> bool:
        """Whether a request is fetching it now."""
        return time.monotonic() - self._fetching_at < TIMEOUT_S + 1

    async def renewed(self, seen: T | None) -> T:
        """A document other than the one `seen`: fetched, or awaited while another request fetches it.

        No lock: the requests may be on different event loops, and a host may drop one without another word.

        Raises:
            UpstreamError: it cannot be had.
        """
        while self.renewing:  # noqa: ASYNC110 # an event would belong to one loop
            await anyio.sleep(0.01)
        if self._held is not None and self._held is not seen:
            return self._held
        if self._within(RETRY_S, self._failed_at):
            raise UpstreamError(self._failure)
        self._fetching_at = time.monotonic()
        try:
            self._held = await self._fetch()
        except UpstreamError as e:
            self._failed_at, self._failure = self._platform.clock(), str(e)
            raise
        finally:
            self._fetching_at = -math.inf
        self._fetched_at = self._platform.clock()
        return self._held

    def _within(self, seconds: float, since: float) -> bool:
        return 0 <= self._platform.clock() - since < seconds

    async def _fetch(self) -> T:
        client = self._platform.http()
        request = client.build_request("GET", self._url, headers={"accept": "application/json"}, timeout=TIMEOUT_S)
        response = await exchange(client, request, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, whose=self._whose)
        if response.status_code != 200:
            raise UpstreamError(f"{self._whose} answered with status {response.status_code}.")
        return self._read(json_object(response, self._whose))
