"""The rate-limit binding behind the limiter port: a count per location, kept by Cloudflare, that costs no store."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Protocol

from mcp_edge.platform import Limiter
from mcp_edge.storage.javascript import JsException

logger = logging.getLogger(__name__)


class Outcome(Protocol):
    """What a request for the limit resolves to, still in JavaScript."""

    success: bool


class Binding(Protocol):
    """The binding as JavaScript gives it. Keyword arguments become the options object."""

    def limit(self, *, key: str) -> Awaitable[Outcome]:
        """Count one more request of `key`."""
        ...


class RateLimit:
    """`Limiter` on the binding. Limit and period are wrangler.toml's."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    async def allow(self, key: str) -> bool:
        """False over the limit. A limiter that fails lets everything through: it protects, it does not authorize."""
        try:
            return (await self._binding.limit(key=key)).success
        except JsException as e:
            logger.warning("the rate limit failed: %s", e)
            return True


def rate_limit(binding: Binding | None) -> Limiter | None:
    """The limiter of a Worker, None without the binding."""
    return None if binding is None else RateLimit(binding)
