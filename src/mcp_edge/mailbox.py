"""What an HTTP+SSE session keeps in the store: messages in, messages out, and the requests being run.

`inbox/<session>/…` is written by whoever takes a POST and emptied by whoever holds the stream. `outbox/<session>/<seq>`
is the stream: it is written before it is sent, so that a stream that was lost goes on wherever its client comes back.
`running/<session>/…` has a lease for each request under way. It knows no HTTP and runs no tool.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from mcp_edge import jsonrpc
from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.tokens import mint, short_hash

_INBOX_S = 300
_INBOX_MOST = 64
_PAGE = 100


class Mailbox:
    """One session's messages, as one instance sees them."""

    def __init__(self, platform: Platform, session: str, sent: int = 0) -> None:
        self._platform = platform
        self._store = platform.atomics
        self._session = session
        self._owner = mint()
        self._last = sent
        self.sent = sent
        """The number of the last message that was sent to the client."""
        self._leases: dict[str, int] = {}

    # -- in ---------------------------------------------------------------------------------------------------------

    async def put(self, message: dict[str, Any]) -> None:
        """Leave a message for whoever holds the stream.

        Raises:
            TooMany: nobody has taken the last ones.
        """
        prefix = f"inbox/{self._session}/"
        if len(await self._store.read(prefix, limit=_INBOX_MOST)) >= _INBOX_MOST:
            raise TooMany("Too many messages wait for this stream.", headers={"retry-after": "1"})
        name = f"{prefix}{int(self._platform.clock() * 1e6):018d}-{mint()[:8]}"
        await self._store.create(name, jsonrpc.encode(message), nonce=mint(), ttl_s=_INBOX_S)

    async def take(self) -> list[dict[str, Any]]:
        """The messages that have arrived; of two holders only one gets each."""
        taken: list[dict[str, Any]] = []
        for entry in await self._store.read(f"inbox/{self._session}/"):
            if await self._store.swap(entry.key, b"", version=entry.version, nonce=mint(), ttl_s=_INBOX_S) is None:
                continue
            await self._store.delete(entry.key)
            if entry.value:
                taken.append(jsonrpc.parse(entry.value))
        return taken

    # -- out --------------------------------------------------------------------------------------------------------

    async def append(self, message: bytes) -> None:
        """Write the stream's next message."""
        ttl_s = self._platform.settings.stream_ttl_s
        while not await self._store.create(self._key(self._last + 1), message, nonce=mint(), ttl_s=ttl_s):
            self._last += 1  # another instance still finishes calls of this session
        self._last += 1

    async def news(self) -> AsyncIterator[tuple[int, bytes]]:
        """The messages after the last one sent, in order."""
        while True:
            page = await self._store.read(f"outbox/{self._session}/", after=self._key(self.sent), limit=_PAGE)
            for entry in page:
                self.sent = int(entry.key.rpartition("/")[2])
                self._last = max(self._last, self.sent)
                yield self.sent, entry.value
            if len(page) < _PAGE:
                return

    def _key(self, number: int) -> str:
        return f"outbox/{self._session}/{number:08d}"

    # -- running ----------------------------------------------------------------------------------------------------

    async def begin(self, message: dict[str, Any]) -> str | None:
        """Note that this instance runs a request; the note's name, or None when the same id runs already."""
        name = f"running/{self._session}/{short_hash(jsonrpc.encode(message['id']).decode())}"
        ttl_s = self._platform.settings.stream_ttl_s
        if not await self._store.create(name, self._note(message), nonce=mint(), ttl_s=ttl_s):
            return None
        self._leases[name] = 1
        return name

    async def end(self, name: str) -> None:
        """The request has its response."""
        self._leases.pop(name, None)
        await self._store.delete(name)

    async def beat(self) -> None:
        """Renew the leases of the requests that run here."""
        for entry in await self._store.read(f"running/{self._session}/"):
            if self._leases.get(entry.key) == entry.version:
                await self._swap(entry.key, entry.version, json.loads(entry.value)["message"])

    async def orphans(self) -> list[tuple[str, dict[str, Any]]]:
        """The requests whose instance is gone, now run by this one."""
        found: list[tuple[str, dict[str, Any]]] = []
        for entry in await self._store.read(f"running/{self._session}/"):
            note = json.loads(entry.value)
            if (
                entry.key not in self._leases
                and note["until"] < self._platform.clock()
                and await self._swap(entry.key, entry.version, note["message"])
            ):
                found.append((entry.key, note["message"]))
        return found

    async def _swap(self, key: str, version: int, message: dict[str, Any]) -> bool:
        ttl_s = self._platform.settings.stream_ttl_s
        new = await self._store.swap(key, self._note(message), version=version, nonce=mint(), ttl_s=ttl_s)
        if new is not None:
            self._leases[key] = new
        return new is not None

    def _note(self, message: dict[str, Any]) -> bytes:
        until = self._platform.clock() + self._platform.settings.lease_s
        return jsonrpc.encode({"v": 1, "owner": self._owner, "until": until, "message": message})
