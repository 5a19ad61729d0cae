"""The gate of `auth=oauth`: access tokens authenticate, and these paths are the authorization server's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mcp_edge.credentials import Authenticator
from mcp_edge.platform import Platform
from mcp_edge.request import Request
from mcp_edge.scopes import Scopes

Handler = Callable[[Request], Awaitable[None]]


def open_gate(
    platform: Platform, scopes: Callable[[], Awaitable[Scopes]]
) -> tuple[Authenticator, Callable[[str], Handler | None]]:
    """The authenticator, and the handler of a path."""
    raise NotImplementedError
