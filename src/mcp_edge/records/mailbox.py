"""What an HTTP+SSE session keeps in the store: messages in, messages out, and the requests under way.

`inbox/<session>/…`: the instance that takes a POST writes it, the instance that holds the stream empties it.
`outbox/<session>/<seq>`: the messages of the stream. Each is written before it is sent, so that a stream that was lost
goes on wherever its client comes back.
`running/<session>/…`: a lease for each request under way, under the request's name in the inbox. The lease is there
before the request leaves the inbox, and an instance that has lost the lease may not answer any more. A large request
lies in an annex, so that renewing the lease costs the same whatever was posted.

The mailbox knows no HTTP and runs no tool.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.signing import mint
from mcp_edge.records.annexes import SMALL_BYTES, Annexes
from mcp_edge.records.keys import INBOX, OUTBOX, RUNNING
from mcp_edge.records.lease import Lease, end_members, end_of, is_late
from mcp_edge.records.numbering import last_number
from mcp_edge.records.quotas import Quotas
from mcp_edge.storage.ports import Entry
from mcp_edge.user import User

_INBOX_S = 300
_INBOX_MOST = 64
_INBOX_BODIES = 2
"""So many messages of the largest size may wait in an inbox, or as many bytes of smaller ones."""
_PAGE = 100
_MOST_RUNNING = 1000
_AWAY_MOST, _AWAY_BYTES = 8, 64 * 1024
"""Messages and bytes that may wait for a stream that no instance holds, from a client that is coming back."""
_SMALL = 64 * 1024
"""Messages of this size do no harm where a few too many are taken at the same time."""
_SCOPES, _APP = "mcp-edge/scopes", "mcp-edge/app"
"""Members that an inbox entry has besides those of the message. What the client says there is replaced."""


@dataclass(slots=True)
class PostedMessage:
    """A message that the client has posted, as the holder of the stream takes it. A request is leased until its end."""

    name: str
    """The last part of its key in the inbox."""
    message: dict[str, Any]
    began: float
    """When the message was first taken, in epoch seconds."""
    app: str | None
    """The OAuth client that posted it, empty where there is none. None where an older release took the message."""
    scopes: frozenset[str] | None
    """The scopes of the credential that the message was posted with; None where nothing is restricted. The stream may
    have been opened with another credential."""
    lease: Lease | None = None
    """The lease of a request, which has to be answered. A notification has none."""
    annex: Annexes | None = None
    """The annex of a message that is too large to be written with each renewal of the lease."""


class Mailbox:
    """The messages of one session, as one instance sees them."""

    def __init__(self, platform: Platform, session: str, sent: int = 0) -> None:
        """`session` is the hash of the session's id, `sent` the number of the last message that the client has."""
        self._platform = platform
        self._store = platform.atomics
        self._session = session
        self._last = sent
        self.sent = sent
        """The number of the last message that was sent to the client."""
        self._leases: dict[str, PostedMessage] = {}

    # -- in ---------------------------------------------------------------------------------------------------------

    async def put(self, message: dict[str, Any], user: User, *, held: bool) -> None:
        """Leave a message in the inbox, with the scopes of its poster. `held`: an instance holds the stream.

        The message's bytes are counted first, against the user's quota of this hour.

        Raises:
            TooMany: too many messages wait in the inbox, or the user has stored too much in this hour.
        """
        prefix, more = f"{INBOX}{self._session}/", {_APP: user.client, _SCOPES: _names(user.scopes)}
        body = jsonrpc.encode({**message, **more})
        most, most_bytes = _AWAY_MOST, _AWAY_BYTES
        if held:
            most, most_bytes = _INBOX_MOST, _INBOX_BODIES * self._platform.settings.max_body_bytes
        waiting = await self._store.read(prefix, limit=most)
        if len(waiting) >= most or len(body) + _size(waiting) > most_bytes:
            raise _full()
        await Quotas(self._platform).charge(user.principal, len(body))
        name = f"{prefix}{int(self._platform.clock() * 1e6):018d}-{mint()[:8]}"
        await self._store.create(name, body, nonce=mint(), ttl_s=_INBOX_S)
        if len(body) > _SMALL:  # others may have looked at the same time
            waiting = await self._store.read(prefix, limit=most)
            if _size(waiting) > most_bytes and waiting[0].key != name:
                await self._store.delete(name)
                raise _full()

    async def take(self) -> AsyncIterator[PostedMessage]:
        """Take the messages that have arrived. Of two holders only one gets each."""
        prefix = f"{INBOX}{self._session}/"
        for entry in await self._store.read(prefix):
            if not entry.value:
                continue  # somebody took it just now
            message: dict[str, Any] = jsonrpc.parse(entry.value)
            app, scopes = message.pop(_APP, None), _allowed(message, _SCOPES)
            posted = PostedMessage(entry.key[len(prefix) :], message, self._platform.clock(), app, scopes)
            if "id" in posted.message and not await self._begin(posted, len(entry.value)):
                continue  # somebody runs it, or died before it had left the inbox
            if posted.annex is not None:  # until it is there, the message is in the inbox for whoever takes the lease
                await posted.annex.put(posted.name, entry.value)
            if await self._store.swap(entry.key, b"", version=entry.version, nonce=mint(), ttl_s=_INBOX_S) is None:
                if await self.renew_lease(posted):  # otherwise somebody has taken it over meanwhile
                    await self.end(posted)  # somebody has even finished it
                continue
            await self._store.delete(entry.key)
            yield posted

    # -- out --------------------------------------------------------------------------------------------------------

    async def append(self, message: bytes) -> int:
        """Write the stream's next message. Returns its number."""
        ttl_s = self._platform.settings.stream_ttl_s
        number = self._last + 1
        while not await self._store.create(self._key(number), message, nonce=mint(), ttl_s=ttl_s):
            # Another call has just written, or another instance that still finishes its calls.
            number = await last_number(self._store, self._key, number) + 1
        self._last = max(self._last, number)
        return number

    async def news(self) -> AsyncIterator[tuple[int, bytes]]:
        """The messages after the last one sent, in order, each with its number. They count as sent from now on."""
        while True:
            page = await self._store.read(f"{OUTBOX}{self._session}/", after=self._key(self.sent), limit=_PAGE)
            for entry in page:
                self.sent = int(entry.key.rpartition("/")[2])
                self._last = max(self._last, self.sent)
                yield self.sent, entry.value
            if len(page) < _PAGE:
                return

    def _key(self, number: int) -> str:
        return f"{OUTBOX}{self._session}/{number:08d}"

    # -- running ----------------------------------------------------------------------------------------------------

    async def renew_lease(self, posted: PostedMessage) -> bool:
        """Renew the lease of a request. False when another instance has the request now, or has ended it."""
        if posted.lease is not None and await posted.lease.renew(self._note(posted, posted.lease)):
            return True
        self._leases.pop(posted.name, None)
        return False

    async def end(self, posted: PostedMessage) -> None:
        """Give the lease of a request up for good: the request has its response, or needs none."""
        if self._leases.pop(posted.name, None) is not None and posted.lease is not None:
            await posted.lease.release()
            if posted.annex is not None:
                await posted.annex.delete(posted.name)

    async def beat(self) -> list[str]:
        """Renew the leases of all requests that run here.

        Returns:
            The names of the requests that another instance has now.
        """
        lost: list[str] = []
        for name, posted in list(self._leases.items()):
            if not await self.renew_lease(posted):
                lost.append(name)
            elif posted.annex is not None:
                await posted.annex.keep([name])
        return lost

    async def orphans(self) -> list[PostedMessage]:
        """Take over the requests whose leases are late: their instances are gone. They are leased to this one now."""
        prefix = self._running("")
        found: list[PostedMessage] = []
        for entry in await self._store.read(prefix, limit=_MOST_RUNNING):
            note, name = json.loads(entry.value), entry.key[len(prefix) :]
            if name in self._leases or not is_late(end_of(note), self._platform.clock()):
                continue
            posted = await self._take_up(entry, note, name)
            if posted is not None:
                self._leases[name] = posted
                await self._store.delete(f"{INBOX}{self._session}/{name}")  # where its instance died too early for that
                found.append(posted)
        return found

    async def _take_up(self, entry: Entry, note: dict[str, Any], name: str) -> PostedMessage | None:
        """Lease one request whose instance is gone. None where another instance did, or has just ended the request."""
        began = note.get("began", self._platform.clock())
        raw = jsonrpc.encode(note["message"]) if "message" in note else await self._annexed(name, began)
        if raw is None:
            return None
        message: dict[str, Any] = jsonrpc.parse(raw)
        for more in (_APP, _SCOPES):
            message.pop(more, None)
        posted = PostedMessage(name, message, began, note.get("app"), _allowed(note, "scopes"))
        if len(raw) > SMALL_BYTES:
            posted.annex = self._annex(began)
            if "message" in note:  # a release that knew no annexes wrote the note
                await posted.annex.put(name, raw)
        posted.lease = self._lease(name)
        taken = await posted.lease.take_over(self._note(posted, posted.lease), entry.version)
        return posted if taken else None

    async def _annexed(self, name: str, began: float) -> bytes | None:
        """A message that is not in its note. It is still in the inbox where its instance died too early."""
        annex = self._annex(began)
        raw = await annex.get(name)
        if raw is None:
            waiting = await self._store.get(f"{INBOX}{self._session}/{name}")
            raw = waiting.value if waiting is not None else b""
            if raw:
                await annex.put(name, raw)
        return raw or None

    async def _begin(self, posted: PostedMessage, size: int) -> bool:
        if size > SMALL_BYTES:
            posted.annex = self._annex(posted.began)
        posted.lease = self._lease(posted.name)
        if not await posted.lease.take(self._note(posted, posted.lease)):
            return False
        self._leases[posted.name] = posted
        return True

    def _lease(self, name: str) -> Lease:
        return Lease(self._platform, self._running(name), ttl_s=self._platform.settings.stream_ttl_s)

    def _running(self, name: str) -> str:
        return f"{RUNNING}{self._session}/{name}"

    def _annex(self, since: float) -> Annexes:
        return Annexes(self._platform, self._session, self._platform.settings.stream_ttl_s, since)

    def _note(self, posted: PostedMessage, lease: Lease) -> bytes:
        until, is_annexed = lease.until(), posted.annex is not None
        note: dict[str, Any] = {"v": 1, "owner": lease.owner, "until": until, "began": posted.began}
        if posted.app is not None:
            note["app"] = posted.app
        note["scopes"] = _names(posted.scopes)
        note |= end_members(until, annexed=is_annexed)
        return jsonrpc.encode(note if is_annexed else {**note, "message": posted.message})


def _full() -> TooMany:
    return TooMany("Too many messages wait for this stream.", headers={"retry-after": "1"})


def _size(entries: list[Entry]) -> int:
    return sum(len(entry.value) for entry in entries)


def _names(scopes: frozenset[str] | None) -> list[str] | None:
    """Scopes as a record has them: null where nothing is restricted."""
    return None if scopes is None else sorted(scopes)


def _allowed(record: dict[str, Any], member: str) -> frozenset[str] | None:
    """Take the scopes out of a record. Where the member is missing or is no list, nothing is allowed."""
    names = record.pop(member, ())
    if names is None:
        return None
    return frozenset(cast("list[str]", names)) if isinstance(names, list) else frozenset()
