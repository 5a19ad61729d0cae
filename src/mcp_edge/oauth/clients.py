"""Clients, however they became known: settings, their own document (CIMD), or registration (RFC 7591)."""

from __future__ import annotations

from typing import Any

from mcp_edge.oauth.model import Client
from mcp_edge.platform import Platform


class Clients:
    """Finds clients."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def find(self, client_id: str) -> Client | None:
        """The client, or None when nobody of this id is known.

        Raises:
            OAuthError: `invalid_client`: its document cannot be had, or says what is not allowed.
        """
        raise NotImplementedError

    async def register(self, document: dict[str, Any]) -> dict[str, Any]:
        """Register a client (RFC 7591 §3.2.1): the answer's document.

        Raises:
            OAuthError: `invalid_redirect_uri` or `invalid_client_metadata`.
        """
        raise NotImplementedError
