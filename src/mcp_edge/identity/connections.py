"""A user's account at an upstream: its tokens, sealed in the store, refreshed when they expire."""

from __future__ import annotations

from mcp_edge.identity.provider import RedirectProvider, TokenSet
from mcp_edge.keyring import KeyRing
from mcp_edge.platform import Platform


class Connections:
    """One account per principal, at one provider."""

    def __init__(self, platform: Platform, ring: KeyRing, provider: RedirectProvider) -> None:
        self._platform = platform
        self._ring = ring
        self._provider = provider

    async def save(self, principal: str, tokens: TokenSet) -> None:
        """Keep the tokens, in place of older ones."""
        raise NotImplementedError

    async def token(self, principal: str) -> str | None:
        """A live access token, refreshed if need be; None when no account is connected (any more).

        Raises:
            UpstreamError: the provider cannot be reached.
        """
        raise NotImplementedError

    async def connected(self, principal: str) -> bool:
        """Whether there is an account."""
        raise NotImplementedError

    async def forget(self, principal: str) -> None:
        """Remove the tokens."""
        raise NotImplementedError
