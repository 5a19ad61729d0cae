"""How often an address may try, on endpoints that anybody can reach. Fails closed: no count, no attempt.

It knows no user: what a user may do is counted elsewhere, once there is one.
"""

from __future__ import annotations

import json
import math
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType
from typing import Literal

from mcp_edge.ascii_text import lowered, stripped
from mcp_edge.ceilings import update
from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.request import Request
from mcp_edge.tokens import short_hash

What = Literal[
    "authorize",
    "consent",
    "sign-in",
    "callback",
    "token",
    "revoke",
    "introspect",
    "new-client",
    "apps",
    "connect",
    "client-renewal",
]
PER_WINDOW = MappingProxyType[What, int](
    {
        "authorize": 60,
        "consent": 60,
        "sign-in": 10,
        "callback": 30,
        "token": 120,
        "revoke": 60,
        "introspect": 120,
        "new-client": 10,
        "apps": 60,
        "connect": 30,
        "client-renewal": 10,
    }
)
"""Attempts in any window. What can be guessed at, or leaves a record behind, has few.

A `new-client` registers or has a document that is not known yet: whoever brings them is counted for both together. A
`client-renewal` fetches a known document anew, and is counted for the one client that it is of.
"""
WINDOW_S = 60
_ROUNDING = 1e-6
_FORMAT = 1


class Limits:
    """Counts in the store, so that every instance counts the same. An attempt costs a read and a write, one over the
    limit the read alone."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        header = platform.settings.client_address_header
        self._header = lowered(header).encode() if header else None

    def address(self, request: Request) -> str:
        """The client's address as the platform states it; never from a header that the client could write. Empty where
        nobody knows it.

        Where a trusted proxy states it in a header, the proxy's own entry is the last one of the last field; what comes
        before it, the client may have written.
        """
        stated = ""
        if self._header is not None:
            fields = [value for name, value in request.pairs if lowered(name) == self._header]
            stated = fields[-1].decode("latin-1").rpartition(",")[2] if fields else ""
        return _read(stated) or _read((request.scope.get("client") or ("",))[0] or "")

    async def check(self, request: Request, what: What) -> None:
        """Count an attempt of the request's address.

        Raises:
            TooMany: it is one too many.
            StoreUnavailable: it cannot be counted.
        """
        await self.count(what, _network(self.address(request)))

    async def count(self, what: What, whose: str) -> None:
        """Count an attempt of whoever `whose` names.

        Raises:
            TooMany, StoreUnavailable: as `check`.
        """
        key, limiter = f"{what}:{whose}", self._platform.limiter
        if limiter is not None and not await limiter.allow(key):
            raise _too_many(WINDOW_S)
        await self._count(f"limit/{short_hash(key)}", PER_WINDOW[what])

    async def _count(self, key: str, limit: int) -> None:
        """Count one more. The window slides: of the last one so much still counts as the present one has not yet taken
        the place of."""

        def one_more(value: bytes | None) -> bytes:
            window, seconds = divmod(self._platform.clock(), WINDOW_S)
            before, now = _counts(value or b"", int(window))
            if now + before * (1 - seconds / WINDOW_S) > limit - 1 + _ROUNDING:
                raise _too_many(_until(before, now, seconds, limit))
            return json.dumps([_FORMAT, int(window), before, now + 1]).encode()

        if not await update(self._platform.atomics, key, one_more, ttl_s=2 * WINDOW_S):
            raise _too_many(1)


def _too_many(wait_s: int) -> TooMany:
    message = f"Too many attempts; try again in {wait_s} seconds."
    return TooMany(message, headers={"retry-after": str(wait_s)})


def _counts(value: bytes, window: int) -> tuple[int, int]:
    """What a record says of the window before this one, and of this one."""
    if not value:
        return 0, 0
    _, recorded, before, now = json.loads(value)
    if recorded >= window:  # a clock that is ahead of this one wrote it
        return before, now
    return (now, 0) if recorded == window - 1 else (0, 0)


def _until(before: int, now: int, seconds: float, limit: int) -> int:
    """Whole seconds until the sliding count has room for one more."""
    room_at = 1 - (limit - 1 - now) / before if now < limit else 2 - (limit - 1) / now
    return max(1, math.ceil(room_at * WINDOW_S - seconds - _ROUNDING))


def _read(text: str) -> str:
    """An address in its one spelling, without a port; empty when it is none."""
    text = stripped(text)
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def _network(address: str) -> str:
    """What counts as one: an IPv4 address, or the /64 of an IPv6 one, of which every customer has a whole one."""
    return address if ":" not in address else str(IPv6Address(int(IPv6Address(address)) >> 64 << 64)) + "/64"
