"""The record of an HTTP+SSE stream: whose it is, and whether somebody holds it. It knows no HTTP and no message.

Streams are opened and dropped at will, and each has an inbox: so an inbox whose stream nobody holds takes a little for
a client that is coming back, and then nothing more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mcp_edge.platform import Platform
from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.records.keys import DOOR
from mcp_edge.records.quotas import HOLD_S, Quotas
from mcp_edge.user import User

FORMAT = 1
_COST_BYTES = 512
"""What a stream that nobody uses leaves in the store, keys included."""
AWAY_S = 60
"""Seconds for which messages are taken after the stream was lost."""


@dataclass(frozen=True, slots=True)
class Door:
    """One stream, as somebody who may use it finds it."""

    held: bool
    """Whether an instance holds the stream, or has died less than `HOLD_S` seconds ago."""
    takes_posts: bool


class Doors:
    """The streams of one host."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def find(self, key: str, user: User) -> Door | None:
        """The stream under `key` that this user's app has opened, as long as it can be held or resumed."""
        raw = await self._platform.records.get(f"{DOOR}{key}")
        if raw is None or not raw.startswith(b"{"):  # the principal alone: no app has opened it
            return Door(True, True) if raw == user.principal.encode() and not user.client else None
        record = json.loads(raw)
        if record["principal"] != user.principal or record["app"] != user.client:
            return None
        away_s = self._platform.clock() - record["until"]
        return Door(away_s < 0, away_s < AWAY_S)

    async def open(self, key: str, user: User) -> None:
        """Make the record of a new stream.

        Raises:
            TooMany: the user has stored too much in this hour.
        """
        await Quotas(self._platform).charge(user.principal, _COST_BYTES)
        await self.keep(key, user)

    async def keep(self, key: str, user: User) -> None:
        """Say that the stream is held: again within `HOLD_S` seconds."""
        await self._put(key, self._record(user, HOLD_S))

    async def leave(self, key: str, user: User) -> None:
        """Say that nobody holds the stream."""
        await self._put(key, self._record(user, 0))

    async def _put(self, key: str, record: bytes) -> None:
        # As long as the stream may be held, and then resumed: opening streams that nobody uses must not fill the store.
        ttl_s = self._platform.stream_budget_s + self._platform.settings.stream_ttl_s
        await self._platform.records.put(f"{DOOR}{key}", record, ttl_s=ttl_s)

    def _record(self, user: User, held_s: float) -> bytes:
        until = self._platform.clock() + held_s
        return encode({"v": FORMAT, "principal": user.principal, "app": user.client, "until": until})
