"""The message log of a resumable event stream: append under a lease, replay after an event id, take over.

One stream answers one request of a handshake session. Its head record says whose it is, what was asked and who runs
it; its entries are `stream/<id>/<seq>`, written with `create`, so that they have one order and a runner that has lost
its lease can append nothing more: the one who takes over writes an entry first, where the old one would write next.
It knows no HTTP and runs no tool.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from typing import Any

from mcp_edge.errors import EdgeError
from mcp_edge.jsonrpc import encode
from mcp_edge.platform import Platform
from mcp_edge.storage.ports import AtomicStore, Entry
from mcp_edge.tokens import mint

FORMAT = 1
_PAGE = 100
_SEQ = "{:08d}"
_EVENT_ID = re.compile(r"([0-9a-f]{32})\.([0-9]{1,8})")
_NAMES = ("name", "uri", "ref")
"""Params that say what is called: who resumes the stream must be allowed to call it."""

MESSAGE, FENCE, FINAL, END = b"m", b"o", b"f", b"x"
"""Kinds of entries, their first byte: a message, a takeover, the final response, an end without one (cancelled)."""


class LeaseLost(EdgeError):
    """Another instance runs this stream now; nothing more may be written to it here."""


@dataclass(slots=True)
class Head:
    """What a stream is about. Stored as JSON; fields that a newer release adds stay in it."""

    session: str
    principal: str
    request_id: int | str
    method: str
    params: dict[str, Any] | None
    version: str
    again: bool
    """Whether the request may be run again after its instance died."""
    owner: str = ""
    until: float = 0
    """The lease: epoch seconds after which anybody may take over; 0 when it was given up."""
    asked: dict[str, str] = field(default_factory=dict[str, str])
    """While suspended: input key -> question id."""
    requests: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """While suspended: input key -> the server request that asks."""
    state: str | None = None
    """The sealed state that comes back with the answers."""
    suspended: bool = False
    began: float = 0
    """Epoch seconds: a cancellation counts from then on, whoever runs the request."""
    deadline: float = 0
    """While suspended: epoch seconds after which no answer counts."""
    digest: str = ""
    """The tool's definition when it asked."""
    v: int = FORMAT
    unknown: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a newer release wrote; not a field of the record itself."""

    def dump(self) -> bytes:
        """The record. Every heartbeat writes it, so the arguments are in it only where they may be needed again."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.params is not None and not (self.again or self.suspended):
            record["params"] = {name: self.params[name] for name in _NAMES if name in self.params}
        return encode({**record.pop("unknown"), **record})

    @classmethod
    def load(cls, raw: bytes) -> Head:
        record: dict[str, Any] = json.loads(raw)
        known = {name: record.pop(name) for name in cls.__dataclass_fields__ if name in record and name != "unknown"}
        return cls(**known, unknown=record)


@dataclass(slots=True)
class Logged:
    """One entry as a reader sees it."""

    seq: int
    kind: bytes
    data: bytes


def parse_event_id(event_id: str) -> tuple[str, int] | None:
    """`<stream>.<seq>` -> its parts, or None when it is no event id of ours."""
    found = _EVENT_ID.fullmatch(event_id)
    return None if found is None else (found[1], int(found[2]))


class Journal:
    """A stream, as the instance that holds its lease writes it."""

    def __init__(self, platform: Platform, stream: str, head: Head, version: int, seq: int) -> None:
        self.stream = stream
        self.head = head
        self.bytes = 0
        """Size of the entries written here."""
        self.unpaid = 0
        """Bytes written here, the head included, that no quota has counted yet."""
        self._platform = platform
        self._store: AtomicStore = platform.atomics
        self._version = version
        self._seq = seq
        self._nonce = mint()

    @classmethod
    async def open(cls, platform: Platform, head: Head, *, paid: bool = False) -> Journal:
        """Begin a stream; the caller holds its lease, and says whether a quota has counted the head already."""
        journal = cls(platform, mint(), head, 1, 0)
        head.owner, head.until = journal._nonce, platform.clock() + platform.settings.lease_s
        raw = head.dump()
        await journal._store.create(f"stream/{journal.stream}", raw, nonce=journal._nonce, ttl_s=journal._ttl_s)
        journal.unpaid = 0 if paid else len(raw)
        return journal

    @property
    def _ttl_s(self) -> float:
        return self._platform.settings.stream_ttl_s + self._platform.settings.question_ttl_s

    def event_id(self, seq: int | None = None) -> str:
        """The id of entry `seq`, or of the last one."""
        return f"{self.stream}.{self._seq if seq is None else seq}"

    async def append(self, kind: bytes, data: bytes) -> str:
        """Write one entry and return its event id.

        Raises:
            LeaseLost: somebody else has written where this entry belongs.
        """
        seq = self._seq + 1
        key = f"stream/{self.stream}/{_SEQ.format(seq)}"
        if not await self._store.create(key, kind + data, nonce=self._nonce, ttl_s=self._ttl_s):
            raise LeaseLost(f"stream {self.stream[:8]} was taken over")
        self._seq = seq
        self.bytes += len(data)
        self.unpaid += len(data)
        return self.event_id()

    async def beat(self) -> None:
        """Renew the lease.

        Raises:
            LeaseLost
        """
        self.head.until = self._platform.clock() + self._platform.settings.lease_s
        await self.save()

    async def release(self) -> None:
        """Give the lease up: whoever reads the stream next may run it."""
        self.head.until = 0
        await self.save()

    async def save(self) -> None:
        """Write the head.

        Raises:
            LeaseLost
        """
        key, raw = f"stream/{self.stream}", self.head.dump()
        version = await self._store.swap(key, raw, version=self._version, nonce=mint(), ttl_s=self._ttl_s)
        if version is None:
            # Our own last write may have been carried out although its answer was lost: the head says whose it is.
            entry = await self._store.get(key)
            if entry is not None and Head.load(entry.value).owner == self._nonce:
                version = await self._store.swap(key, raw, version=entry.version, nonce=mint(), ttl_s=self._ttl_s)
        if version is None:
            raise LeaseLost(f"stream {self.stream[:8]} was taken over")
        self._version = version


class Log:
    """A stream, as a reader on any instance sees it."""

    def __init__(self, platform: Platform, stream: str, after: int) -> None:
        self._platform = platform
        self._store = platform.atomics
        self.stream = stream
        self.seq = after

    async def head(self) -> tuple[Head, int] | None:
        """The head and its version, or None when there is no such stream (any more)."""
        entry = await self._store.get(f"stream/{self.stream}")
        return None if entry is None else (Head.load(entry.value), entry.version)

    async def last_seen(self) -> bytes | None:
        """The kind of the entry that the reader saw last: `MESSAGE` for the priming, too, and for one that has expired.

        None when there never was such an entry: entries expire in their order, so what comes after a live one lives.
        """
        prefix = f"stream/{self.stream}/"
        if not self.seq:
            return MESSAGE
        entry = await self._store.get(prefix + _SEQ.format(self.seq))
        if entry is not None:
            return entry.value[:1]
        eldest = await self._store.read(prefix, limit=1)
        return None if eldest and int(eldest[0].key[len(prefix) :]) < self.seq else MESSAGE

    async def news(self) -> AsyncIterator[Logged]:
        """The entries that followed the last one seen."""
        prefix = f"stream/{self.stream}/"
        while True:
            page: list[Entry] = await self._store.read(prefix, after=prefix + _SEQ.format(self.seq), limit=_PAGE)
            for entry in page:
                self.seq = int(entry.key[len(prefix) :])
                yield Logged(self.seq, entry.value[:1], entry.value[1:])
            if len(page) < _PAGE:
                return

    async def all(self) -> list[Logged]:
        """Every entry from the beginning; the reader's place does not move."""
        whole = Log(self._platform, self.stream, 0)
        return [entry async for entry in whole.news()]

    async def take_over(self, head: Head, version: int) -> Journal | None:
        """Become the runner of a stream whose lease has ended; None when another reader was quicker.

        Called by a reader who has seen all there was. The fence entry comes at the end of the log, wherever that is by
        now: from then on the old runner can append nothing.
        """
        journal = Journal(self._platform, self.stream, head, version, self.seq)
        head.owner = journal._nonce  # pyright: ignore[reportPrivateUsage] # its own class's other face
        try:
            await journal.beat()
        except LeaseLost:
            return None
        while True:
            try:
                await journal.append(FENCE, b"")
            except LeaseLost:  # the old runner wrote one more before it noticed
                journal._seq += 1  # pyright: ignore[reportPrivateUsage]
            else:
                return journal
