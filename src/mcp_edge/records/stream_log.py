"""The message log of a resumable event stream: append under a lease, replay after an event id, take over.

One stream answers one request of a handshake session. The stream's head (`stream_head`) says whose it is and who runs
the request. The entries are `stream/<id>/<seq>`. Each is written with `create`, so that they have one order. Whoever
takes a stream over first writes an entry where the old writer would write next: so a writer that has lost the lease can
append nothing more. The log knows no HTTP and runs no tool.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from mcp_edge.errors import EdgeError
from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import mint
from mcp_edge.records.annexes import Annexes
from mcp_edge.records.keys import STREAM
from mcp_edge.records.lease import Lease
from mcp_edge.records.numbering import last_number
from mcp_edge.records.stream_head import Head
from mcp_edge.storage.ports import AtomicStore, Entry

_PAGE = 100
_SEQ = "{:08d}"
_EVENT_ID = re.compile(r"([0-9a-f]{32})\.([0-9]{1,8})")

MESSAGE, FENCE, FINAL, END = b"m", b"o", b"f", b"x"
"""Kinds of entries, their first byte: a message, a takeover, the final response, an end without one (cancelled)."""


class LeaseLost(EdgeError):
    """Another instance writes this stream now; this one must write nothing more."""


@dataclass(slots=True)
class LogEntry:
    """One entry as a reader sees it."""

    seq: int
    kind: bytes
    """`MESSAGE`, `FENCE`, `FINAL` or `END`; a newer release may know more."""
    data: bytes
    """A JSON-RPC message, or nothing."""


def parse_event_id(event_id: str) -> tuple[str, int] | None:
    """The stream and the number in an event id `<stream>.<seq>`. None where the text is no event id of ours."""
    found = _EVENT_ID.fullmatch(event_id)
    return None if found is None else (found[1], int(found[2]))


class LogWriter:
    """A stream, as the instance that holds its lease writes it."""

    def __init__(self, platform: Platform, stream: str, head: Head, seq: int) -> None:
        self.stream = stream
        self.head = head
        self.bytes = 0
        """Bytes of the entries written here."""
        self.unpaid = 0
        """Bytes written here, the head included, that no quota has counted yet. Heartbeats are not among them, since
        each replaces the last. Nor are annexes that the caller of `open` or `save` has counted."""
        self._platform = platform
        self._store: AtomicStore = platform.atomics
        self._lease = Lease(platform, f"{STREAM}{stream}", ttl_s=_ttl_s(platform))
        self.seq = seq
        """The number of the last entry."""
        self._annexes = Annexes(platform, stream, _ttl_s(platform), head.began)

    @classmethod
    async def open(cls, platform: Platform, head: Head) -> LogWriter:
        """Begin a stream and take its lease. The caller has counted the annexes of `head` against the quota."""
        writer = cls(platform, mint(), head, 0)
        raw = await writer._claimed()
        await writer._lease.take(raw)
        writer.unpaid = len(raw)
        return writer

    @classmethod
    async def take_over(cls, platform: Platform, stream: str, head: Head, version: int, seq: int) -> LogWriter | None:
        """Become the writer of a stream whose lease is late, and whose head was read at `version`.

        The fence entry comes after entry `seq`, or wherever the log ends by now: from then on the old writer can
        append nothing. None when another reader was quicker.
        """
        writer = cls(platform, stream, head, seq)
        writer.unpaid = head.pack()  # a release that knew no annexes wrote the head
        if not await writer._lease.take_over(await writer._claimed(), version):
            return None
        writer.unpaid += await writer._annexes.keep(head.annexes.values())
        while True:
            try:
                await writer.append(FENCE, b"")
            except LeaseLost:  # the old writer wrote more before it noticed
                writer.seq = await last_number(writer._store, partial(_key, stream), writer.seq)
            else:
                return writer

    async def _claimed(self) -> bytes:
        """The head with this writer as its owner, ready to be written."""
        self.head.owner, self.head.until = self._lease.owner, self._lease.until()
        raw = self.head.dump()
        await self._store_annexes()
        return raw

    def event_id(self, seq: int | None = None) -> str:
        """The id of entry `seq`, or of the last one."""
        return f"{self.stream}.{self.seq if seq is None else seq}"

    async def append(self, kind: bytes, data: bytes) -> str:
        """Write one entry and return its event id.

        Raises:
            LeaseLost: another writer has written where this entry belongs.
        """
        seq = self.seq + 1
        key = _key(self.stream, seq)
        if not await self._store.create(key, kind + data, nonce=self._lease.owner, ttl_s=_ttl_s(self._platform)):
            raise LeaseLost(f"stream {self.stream[:8]} was taken over")
        self.seq = seq
        self.bytes += len(data)
        self.unpaid += len(data)
        return self.event_id()

    async def beat(self) -> None:
        """Renew the lease.

        Raises:
            LeaseLost: another instance has taken the stream over.
        """
        self.head.until = self._lease.until()
        await self.save()
        self.unpaid += await self._annexes.keep(self.head.annexes.values())

    async def release(self) -> None:
        """Give the lease up: whoever reads the stream next may take it over."""
        self.head.until = 0
        await self.save()

    async def save(self) -> None:
        """Write the head.

        Raises:
            LeaseLost: another instance has taken the stream over.
        """
        raw = self.head.dump()
        await self._store_annexes()
        if not await self._lease.renew(raw):
            raise LeaseLost(f"stream {self.stream[:8]} was taken over")

    async def _store_annexes(self) -> None:
        """Called before the head that names them is written, so that no reader sees it without them."""
        for name, value in self.head.unstored.items():
            await self._annexes.put(name, value)
        self.head.unstored = {}


class LogReader:
    """A stream, as a reader on any instance sees it."""

    def __init__(self, platform: Platform, stream: str, after: int) -> None:
        """`after` is the number of the last entry that the reader has seen; 0 for none."""
        self._platform = platform
        self._store = platform.atomics
        self.stream = stream
        self.seq = after

    async def head(self) -> tuple[Head, int] | None:
        """The head and its version. None where there is no such stream, or none any more. Annexes are not read."""
        entry = await self._store.get(f"{STREAM}{self.stream}")
        return None if entry is None else (Head.load(entry.value), entry.version)

    async def fill(self, head: Head) -> None:
        """Read the annexes of the head, and put their parts back into it."""
        annexes = Annexes(self._platform, self.stream, _ttl_s(self._platform), head.began)
        found = {name: await annexes.get(name) for name in head.annexes.values()}
        head.fill({name: value for name, value in found.items() if value is not None})

    async def last_seen(self) -> bytes | None:
        """Kind of the last entry that the reader has seen. Priming events and expired entries count as `MESSAGE`.

        None where there never was such an entry. Entries expire in their order: one that follows a live entry lives.
        """
        prefix = f"{STREAM}{self.stream}/"
        if not self.seq:
            return MESSAGE
        entry = await self._store.get(prefix + _SEQ.format(self.seq))
        if entry is not None:
            return entry.value[:1]
        eldest = await self._store.read(prefix, limit=1)
        return None if eldest and int(eldest[0].key[len(prefix) :]) < self.seq else MESSAGE

    async def news(self) -> AsyncIterator[LogEntry]:
        """The entries that follow the last one seen. They count as seen from now on."""
        prefix = f"{STREAM}{self.stream}/"
        while True:
            page: list[Entry] = await self._store.read(prefix, after=prefix + _SEQ.format(self.seq), limit=_PAGE)
            for entry in page:
                self.seq = int(entry.key[len(prefix) :])
                yield LogEntry(self.seq, entry.value[:1], entry.value[1:])
            if len(page) < _PAGE:
                return

    async def take_over(self, head: Head, version: int) -> LogWriter | None:
        """Become the writer of a stream whose lease is late; None when another reader was quicker.

        Called by a reader who has seen all there was. `head` and `version` are what `head()` gave.
        """
        await self.fill(head)
        return await LogWriter.take_over(self._platform, self.stream, head, version, self.seq)


def _key(stream: str, seq: int) -> str:
    return f"{STREAM}{stream}/{_SEQ.format(seq)}"


def _ttl_s(platform: Platform) -> float:
    return platform.settings.stream_ttl_s + platform.settings.question_ttl_s
