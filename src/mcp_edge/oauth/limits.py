"""How often an address may try, on endpoints that anybody can reach. Fails closed: no count, no attempt."""

from __future__ import annotations

from mcp_edge.platform import Platform
from mcp_edge.request import Request


class Limits:
    """Counts in the store, so that every instance counts the same."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def address(self, request: Request) -> str:
        """The client's address as the platform states it; never from a header that the client could write."""
        raise NotImplementedError

    async def check(self, request: Request, what: str) -> None:
        """Count an attempt.

        Raises:
            TooMany: it is one too many.
            StoreUnavailable: it cannot be counted.
        """
        raise NotImplementedError
