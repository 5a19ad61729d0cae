"""Changes between instances: list_changed and resources/updated, as records that listeners read with a cursor.

There is one record for each principal and one for everybody. A change says "look again", so the record keeps the last
changes only, and a listener that fell behind is told that everything may have changed. Nobody sees what happens to
another principal. Changes know no wire.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.records.keys import CHANGES
from mcp_edge.records.upsert import upsert
from mcp_edge.storage.ports import Entry
from mcp_edge.text.ascii import digits
from mcp_edge.text.hashing import short_hash

logger = logging.getLogger(__name__)

FORMAT = 1
MAX_URI_BYTES = 2048
"""Length of the longest URI whose changes can be subscribed to."""
_KEPT = 256
_TTL_S = 7 * 86400
_TRIES = 3
"""Updates, each of which ends after losing a number of races."""
_BEGINNING = re.compile(rb'\{"v":[0-9]{1,9},"n":([0-9]{1,18}),')
"""Of a record as it is written here; one that begins otherwise is read whole."""

METHODS: dict[str, str] = {
    "tools": "notifications/tools/list_changed",
    "prompts": "notifications/prompts/list_changed",
    "resources": "notifications/resources/list_changed",
    "updated": "notifications/resources/updated",
}
"""Kind of change -> the notification that announces it."""
KINDS: dict[str, str] = {method: kind for kind, method in METHODS.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """One change. Only `updated` has a `uri`; without one, any resource that is subscribed to may have changed."""

    kind: str
    uri: str | None = None

    @classmethod
    def of(cls, event: ServerEvent) -> Change:
        """The change that the SDK's event announces."""
        match event:
            case ToolsListChanged():
                return cls("tools")
            case PromptsListChanged():
                return cls("prompts")
            case ResourcesListChanged():
                return cls("resources")
            case ResourceUpdated():
                return cls("updated", event.uri)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A listener's place in its principal's changes and in everybody's."""

    own: int = 0
    all: int = 0

    def event_id(self) -> str:
        """The place as the event id of a standalone stream."""
        return f"c.{self.own}.{self.all}"

    @classmethod
    def parse(cls, event_id: str) -> Cursor | None:
        """The place named by an event id, or None when it names no standalone stream."""
        parts = event_id.split(".", 3)
        if len(parts) != 3 or parts[0] != "c" or not all(digits(p) and len(p) < 18 for p in parts[1:]):
            return None
        return cls(int(parts[1]), int(parts[2]))


EVERYBODY = ""
"""In the place of a principal: everybody."""


class Changes:
    """The changes of every principal: published by one instance, read with a cursor by any."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._store = platform.atomics

    async def publish(self, principal: str, changes: Collection[Change]) -> None:
        """Announce `changes` to the listeners of `principal`, or of `EVERYBODY`.

        Never fails: what was changed is changed, so the one who did it must not be told otherwise. Changes that cannot
        be announced are logged.
        """
        changes = [each for each in changes if each.uri is None or uri_bytes(each.uri) is not None]
        if not changes:
            return  # nobody can have subscribed to a URI of that length

        def append(value: bytes | None) -> bytes:
            record = _load(value)
            last, events = record["n"], record["e"]
            for change in changes:
                # Never below the clock: a record that expired and began anew stays ahead of every cursor.
                last = max(last + 1, int(self._platform.clock() * 1000))
                events.append([last, change.kind, change.uri])
            return encode({**record, "n": last, "e": events[-_KEPT:]})

        why: object = "others write all the time"
        try:
            for _ in range(_TRIES):
                if await upsert(self._store, _key(principal), append, ttl_s=_TTL_S):
                    return
        except StoreUnavailable as e:
            why = e
        logger.warning("%d changes were not announced: %s", len(changes), why)

    async def now(self, principal: str) -> Cursor:
        """The place after everything published so far."""
        own, everybody = await self._store.get(_key(principal)), await self._store.get(_key(EVERYBODY))
        return Cursor(_last(own), _last(everybody))

    async def since(self, principal: str, cursor: Cursor) -> list[tuple[Change, Cursor]]:
        """The changes that followed `cursor`, each with the cursor behind it."""
        news: list[tuple[Change, Cursor]] = []
        for change, number in _after(await self._store.get(_key(principal)), cursor.own):
            cursor = Cursor(number, cursor.all)
            news.append((change, cursor))
        for change, number in _after(await self._store.get(_key(EVERYBODY)), cursor.all):
            cursor = Cursor(cursor.own, number)
            news.append((change, cursor))
        return news


def uri_bytes(uri: str) -> bytes | None:
    """`uri` in UTF-8, or None when it is too long to be subscribed to."""
    if len(uri) > MAX_URI_BYTES:
        return None
    raw = uri.encode("utf-8", "surrogatepass")
    return raw if len(raw) <= MAX_URI_BYTES else None


def _key(principal: str) -> str:
    return CHANGES + (short_hash(principal) if principal else "all")


def _load(value: bytes | None) -> dict[str, Any]:
    """`n` is the last number, `e` the events: number, kind, URI, and whatever a newer release adds to them."""
    return {"v": FORMAT, "n": 0, "e": []} if value is None else json.loads(value)


def _last(entry: Entry | None) -> int:
    """The last number. The rest of the record may be large, and each listener looks several times a second."""
    if entry is None:
        return 0
    found = _BEGINNING.match(entry.value)
    return int(found[1]) if found else _load(entry.value)["n"]


def _after(entry: Entry | None, place: int) -> list[tuple[Change, int]]:
    last = _last(entry)
    if entry is None or last <= place:
        return []
    events = _load(entry.value)["e"]
    if len(events) == _KEPT and events[0][0] > place + 1 and place:
        return [(Change(kind), last) for kind in METHODS]
    return [(Change(kind, uri), n) for n, kind, uri, *_ in events if n > place and kind in METHODS]
