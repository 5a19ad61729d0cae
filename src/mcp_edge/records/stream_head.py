"""The head of a stream: the record that says whose stream it is, which request it answers and who runs the request.

The head is written with each heartbeat, so its large parts lie in annexes. It knows no store.
"""

from __future__ import annotations

import json
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any

from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.protocol.signing import mint
from mcp_edge.records.annexes import SMALL_BYTES
from mcp_edge.records.lease import end_members, end_of

FORMAT = 1
_SMALL_ASKED_BYTES = 2048
"""What is asked may have so many bytes in the record. A form with its sealed state seldom has more."""
_NAMES = ("name", "uri", "ref")
"""Params that say what is called. Whoever resumes the stream must be allowed to call that."""
_CALL, _ASKED = "call", "asked"
_METHOD = 80


@dataclass(slots=True)
class Head:
    """The head of one stream. It is stored as JSON; fields that a newer release adds stay in it."""

    session: str
    principal: str
    request_id: int | str
    method: str
    params: dict[str, Any] | None
    version: str
    again: bool
    """Whether the request may be run again after its instance died."""
    owner: str = ""
    """The `Lease` that runs the request."""
    until: float = 0
    """The end of the lease, in epoch seconds: then anybody may take over. 0 when the lease was given up."""
    asked: dict[str, str] = field(default_factory=dict[str, str])
    """While suspended: input key -> question id."""
    requests: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """While suspended: input key -> the server request that asks."""
    state: str | None = None
    """The sealed state that comes back with the answers."""
    suspended: bool = False
    began: float = 0
    """When the request began, in epoch seconds. A cancellation counts from then on, whoever runs the request."""
    deadline: float = 0
    """While suspended: when the time for answers is up, in epoch seconds."""
    digest: str = ""
    """While suspended: the digest of the tool's definition when it asked."""
    asked_after: int = 0
    """While suspended: the number of the last entry before the questions. Nobody looks for them further back."""
    annexes: dict[str, str] = field(default_factory=dict[str, str])
    """`call` or `asked`, where it is large -> the name of its annex. The record has a placeholder for it."""
    v: int = FORMAT
    unknown: dict[str, Any] = field(default_factory=dict[str, Any])
    """Members of the record that a newer release wrote. This is no member itself, nor is any field that follows."""
    unstored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Name -> annex, of those that have to be stored before the record."""
    is_short: bool = False
    """Whether `params` is the placeholder of an annex that was not read."""
    _in_record: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]], init=False)
    _packed: dict[str, object] = field(default_factory=dict[str, object], init=False)

    # -- what lies in annexes -----------------------------------------------------------------------------------------

    def pack(self) -> int:
        """Take what has become large out of the record.

        This looks at what the client sent only when that begins or ceases to be needed, never for a heartbeat.

        Returns:
            The bytes of the annexes that the record newly needs.
        """
        before, whole = len(self.unstored), self.again or self.suspended
        if self._packed.get(_CALL) != whole and not (self._packed.get(_CALL) and _CALL in self.annexes):
            names = self._names()
            params = self.params if whole else names
            call = {"request_id": self.request_id, "method": self.method, "params": params}
            self._place(_CALL, call, SMALL_BYTES, whole)
            if _CALL in self.annexes:
                self._in_record = {**self._in_record, _CALL: self._placeholder(names)}
        ids = tuple(self.asked.values()) if self.suspended else ()
        if self._packed.get(_ASKED) != ids:
            asked = {"asked": self.asked, "requests": self.requests, "state": self.state if self.suspended else None}
            self._place(_ASKED, asked, _SMALL_ASKED_BYTES, ids)
            if _ASKED in self.annexes:
                self._in_record = {**self._in_record, _ASKED: {"asked": {}, "requests": {}, "state": None}}
        return sum(len(value) for value in list(self.unstored.values())[before:])

    def _place(self, part: str, value: dict[str, Any], most_bytes: int, sign: object) -> None:
        """Put a part into the record or, where it is large, into an annex. Dicts are replaced: copies share them."""
        self._packed = {**self._packed, part: sign}
        self._in_record = {**self._in_record, part: value}
        self.annexes = {other: name for other, name in self.annexes.items() if other != part}
        raw = encode(value)
        if len(raw) > most_bytes:
            name = mint()
            self.annexes, self.unstored = {**self.annexes, part: name}, {**self.unstored, name: raw}

    def _names(self) -> dict[str, Any] | None:
        return None if self.params is None else {name: self.params[name] for name in _NAMES if name in self.params}

    def _placeholder(self, names: dict[str, Any] | None) -> dict[str, Any]:
        """What the record says of a call that is in an annex. Without params, whoever resumes it reads the annex."""
        fits = len(self.method) <= _METHOD and len(encode([self.method, names])) <= SMALL_BYTES
        request_id = self.request_id if len(encode(self.request_id)) <= SMALL_BYTES else ""
        return {"request_id": request_id, "method": self.method[:_METHOD], "params": names if fits else None}

    def fill(self, annexes: dict[str, bytes]) -> None:
        """Put back what lies in the annexes (name -> bytes). A call of which one is missing can only be ended."""
        for name in self.annexes.values():
            raw = annexes.get(name)
            if raw is None:
                self.again = self.suspended = False
                continue
            for key, value in json.loads(raw).items():
                setattr(self, key, value)
        self.is_short = False
        self._packed = self._signs()

    def _signs(self) -> dict[str, object]:
        signs = {_CALL: self.again or self.suspended, _ASKED: tuple(self.asked.values())}
        return {part: sign for part, sign in signs.items() if part in self.annexes}

    # -- copies and bytes ---------------------------------------------------------------------------------------------

    def restore(self, other: Head) -> None:
        """Become what `other` is, a copy of this head."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))

    def without_annexes(self) -> Head:
        """A copy of which nothing was stored."""
        bare = copy(self)
        bare.annexes, bare.unstored, bare._in_record, bare._packed = {}, {}, {}, {}
        return bare

    def dump(self) -> bytes:
        """The record. Arguments are in it, or in an annex, only where they may be needed again."""
        self.pack()
        record = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _UNWRITTEN}
        for part in self._in_record.values():
            record |= part
        record |= end_members(self.until, annexed=bool(self.annexes))
        if not self.annexes:
            del record["annexes"]
        return encode({**self.unknown, **record})

    @classmethod
    def load(cls, raw: bytes) -> Head:
        """The head of a record. What lies in annexes is not in it yet: see `fill`."""
        record: dict[str, Any] = json.loads(raw)
        record["until"] = end_of(record)
        record.pop("lease", None)
        known = {
            name: record.pop(name) for name in cls.__dataclass_fields__ if name in record and name not in _UNWRITTEN
        }
        head = cls(**known, unknown=record)
        for part, names in ((_CALL, ("request_id", "method", "params")), (_ASKED, ("asked", "requests", "state"))):
            if part in head.annexes:
                head._in_record[part] = {name: getattr(head, name) for name in names}
        head._packed = head._signs()
        head.is_short = _CALL in head.annexes and head.params is None
        return head


_UNWRITTEN = {"unknown", "unstored", "is_short", "_in_record", "_packed"}
