"""The host's limiter, asked for each message of a caller. Where the host has none, nobody counts."""

from __future__ import annotations

from mcp_edge.audit import decided
from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.user import User


async def check(platform: Platform, request: Request, user: User, count: int = 1) -> None:
    """Count so many messages of `user`.

    Raises:
        TooMany: they are more than the limiter allows; the log has who sent them.
    """
    if platform.limiter is None:
        return
    for _ in range(count):
        if not await platform.limiter.allow(user.principal):
            decided(request.path, "refused", principal=user.principal, client=user.client, reason="rate limit")
            raise TooMany("Too many requests; try again in a minute.", headers={"retry-after": "60"})
