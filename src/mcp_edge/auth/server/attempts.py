"""Limits on attempts at endpoints that anybody can reach, for an address and the networks around it.

An attempt that cannot be counted is refused. It knows no user: what a user may do is counted elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol import networks
from mcp_edge.protocol.client_address import address_header, client_address
from mcp_edge.protocol.request import Request
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash

Attempt = Literal[
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
PER_WINDOW = MappingProxyType[Attempt, int](
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
"""Attempts of one address in any window of `WINDOW_S` seconds; wider networks have multiples (`networks.around`).
Endpoints where guessing pays, or that store a record, allow few.

A `new-client` registers or has a document that is not known yet: whoever brings them is counted for both together. A
`client-renewal` fetches a known document anew, and is counted for the one client that it is of.
"""
WINDOW_S = 60
_ROUNDING = 1e-6
_FORMAT = 1


class Attempts:
    """Counts attempts of addresses, in the store, so that all instances count together.

    An attempt costs a read and a write. An attempt over the limit costs the read alone.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._header = address_header(platform.settings)

    def address(self, request: Request) -> str:
        """The client's address; empty where nobody knows it."""
        return client_address(request.scope, request.pairs, self._header)

    async def check(self, request: Request, what: Attempt) -> None:
        """Count an attempt of the request's address, and of the networks around it.

        Raises:
            TooMany: it is one too many.
            StoreUnavailable: it cannot be counted.
        """
        around = networks.around(self.address(request))
        if len(around) < 2:
            await self.count(what, around[0].name if around else "")
            return
        await self._allowed(f"{what}:{around[0].name}")
        # One record for all of them, so that an attempt is counted for each or for none: who is refused at home takes
        # nothing from the neighbours, and a customer with many networks makes no record for each.
        most = {"": around[-1].share, **{network.part: network.share for network in around[:-1]}}
        await self._count(f"{what}:{around[-1].name}", {part: PER_WINDOW[what] * n for part, n in most.items()})

    async def count(self, what: Attempt, whose: str) -> None:
        """Count an attempt of whoever `whose` names.

        Raises:
            TooMany, StoreUnavailable: as `check`.
        """
        await self._allowed(f"{what}:{whose}")
        await self._count(f"{what}:{whose}", {"": PER_WINDOW[what]})

    async def _allowed(self, key: str) -> None:
        """Ask the platform's own limiter first, where there is one.

        Raises:
            TooMany: the limiter does not allow it.
        """
        limiter = self._platform.limiter
        if limiter is not None and not await limiter.allow(key):
            raise _too_many(WINDOW_S)

    async def _count(self, key: str, limits: Mapping[str, int]) -> None:
        """Count one more of `key` as a whole, under the name "", and of each of its parts that has a limit. The window
        slides: of the last one so much still counts as the present one has not yet taken the place of.

        Raises:
            TooMany: it is one too many for one of them, and is counted for none.
        """
        key = f"limit/{short_hash(key)}"

        def one_more(value: bytes | None) -> bytes:
            window, seconds = divmod(self._platform.clock(), WINDOW_S)
            counts = _counts(value, int(window))
            waits = [_wait_s(*counts.get(part, (0, 0)), seconds, limit) for part, limit in limits.items()]
            if any(waits):
                raise _too_many(max(waits))
            for part in limits:
                before, now = counts.get(part, (0, 0))
                counts[part] = before, now + 1
            return _dump(int(window), counts)

        if not await upsert(self._platform.atomics, key, one_more, ttl_s=2 * WINDOW_S):
            raise _too_many(1)


def _too_many(wait_s: int) -> TooMany:
    message = f"Too many attempts; try again in {wait_s} seconds."
    return TooMany(message, headers={"retry-after": str(wait_s)})


def _counts(value: bytes | None, window: int) -> dict[str, tuple[int, int]]:
    """What a record says of the window before this one, and of this one: as a whole and in part."""
    if not value:
        return {}
    _, recorded, before, now, *more = json.loads(value)
    if recorded < window - 1:
        return {}
    parts: dict[str, list[int]] = {"": [before, now], **(more[0] if more else {})}
    if recorded == window - 1:
        return {part: (now, 0) for part, (_, now) in parts.items() if now}
    return {part: (before, now) for part, (before, now) in parts.items()}  # or a clock ahead of this one wrote it


def _dump(window: int, counts: dict[str, tuple[int, int]]) -> bytes:
    whole = counts.pop("")
    return json.dumps([_FORMAT, window, *whole, *([counts] if counts else [])], separators=(",", ":")).encode()


def _wait_s(before: int, now: int, seconds: float, limit: int) -> int:
    """Whole seconds until the sliding count has room for one more; 0 when it has."""
    if now + before * (1 - seconds / WINDOW_S) <= limit - 1 + _ROUNDING:
        return 0
    room_at = 1 - (limit - 1 - now) / before if now < limit else 2 - (limit - 1) / now
    return max(1, math.ceil(room_at * WINDOW_S - seconds - _ROUNDING))
