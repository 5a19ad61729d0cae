"""The record of an HTTP+SSE stream: whose stream it is, and whether an instance holds it.

Clients open and drop streams at will, and each stream has an inbox. So the inbox of a stream that no instance holds
takes a little for a client that is coming back, and then nothing more. The record knows no HTTP and no message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mcp_edge.platform import Platform
from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.records.keys import DOOR
from mcp_edge.records.quotas import SLOT_S, Quotas
from mcp_edge.user import User

FORMAT = 1
_COST_BYTES = 512
"""Bytes that a stream which nobody uses leaves in the store, keys included."""
AWAY_S = 60
"""Seconds for which the inbox takes messages after the stream was lost."""


@dataclass(frozen=True, slots=True)
class HttpSseStream:
    """The state of one stream, for a user who may use the stream."""

    held: bool
    """Whether an instance holds the stream, or has died less than `SLOT_S` seconds ago."""
    takes_posts: bool
    """Whether the inbox takes messages: the stream is held, or was until `AWAY_S` seconds ago."""


class HttpSseStreams:
    """The records of all HTTP+SSE streams."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def find(self, key: str, user: User) -> HttpSseStream | None:
        """The stream of the session `key` (the hash of its id).

        None where this user's app has opened no such stream, or the stream can no longer be resumed.
        """
        raw = await self._platform.records.get(f"{DOOR}{key}")
        if raw is None or not raw.startswith(b"{"):  # the principal alone: no app has opened it
            return HttpSseStream(True, True) if raw == user.principal.encode() and not user.client else None
        record = json.loads(raw)
        if record["principal"] != user.principal or record["app"] != user.client:
            return None
        away_s = self._platform.clock() - record["until"]
        return HttpSseStream(away_s < 0, away_s < AWAY_S)

    async def open(self, key: str, user: User) -> None:
        """Make the record of a new stream, which is held from now on.

        Raises:
            TooMany: the user has stored too much in this hour.
        """
        await Quotas(self._platform).charge(user.principal, _COST_BYTES)
        await self.keep(key, user)

    async def keep(self, key: str, user: User) -> None:
        """Store that the stream is held. Call this again within `SLOT_S` seconds."""
        await self._put(key, self._record(user, SLOT_S))

    async def leave(self, key: str, user: User) -> None:
        """Store that no instance holds the stream."""
        await self._put(key, self._record(user, 0))

    async def _put(self, key: str, record: bytes) -> None:
        # Lives as long as the stream can be held plus resumed, so that unused streams do not fill the store.
        ttl_s = self._platform.stream_budget_s + self._platform.settings.stream_ttl_s
        await self._platform.records.put(f"{DOOR}{key}", record, ttl_s=ttl_s)

    def _record(self, user: User, held_s: float) -> bytes:
        until = self._platform.clock() + held_s
        return encode({"v": FORMAT, "principal": user.principal, "app": user.client, "until": until})
