"""The revisions of MCP that are served, and what each of them has: one table. Pure: it knows no wire and no SDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Family = Literal["http+sse", "handshake", "modern"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One released revision of the protocol. A flag is off where the revision lacks the feature."""

    version: str
    """The revision's date, as `protocolVersion` and the header `MCP-Protocol-Version` state it."""
    family: Family
    """How a client connects: in `http+sse` it opens a stream, in `handshake` it opens a session with `initialize`, in
    `modern` it sends an envelope with each request. `initialize` negotiates any version of the older two families."""
    has_batches: bool = False
    """A POST may hold an array of messages (MCP 2025-03-26 basic, Batching)."""
    primes_streams: bool = False
    """A stream begins with an event that has an id and no data (MCP 2025-11-25 transports)."""
    has_envelope: bool = False
    """The `_meta` of a request names its client, the client's capabilities and the version (MCP 2026-07-28 basic)."""
    maps_errors: bool = False
    """The code of a JSON-RPC error decides the HTTP status of its response (MCP 2026-07-28 transports)."""
    has_input_required: bool = False
    """A result may be an `InputRequiredResult`, so a server asks its client, to open a URL also, without a request of
    its own. Elsewhere the server sends requests, and answers that a URL must be opened with the error -32042."""
    has_result_type: bool = False
    """Each result has a `resultType`, and `_meta` names the server (MCP 2026-07-28 basic, Results)."""
    has_any_structured_content: bool = False
    """`structuredContent` may be any JSON value (MCP 2026-07-28 tools); elsewhere it is an object."""
    has_listen: bool = False
    """Notifications of changes are on `subscriptions/listen` streams (MCP 2026-07-28); elsewhere in a session."""


HTTP_SSE = Revision(version="2024-11-05", family="http+sse")
BATCHING = Revision(version="2025-03-26", family="handshake", has_batches=True)
LATEST_HANDSHAKE = Revision(version="2025-11-25", family="handshake", primes_streams=True)
"""What `initialize` negotiates with a client that asks for a version nobody knows."""
MODERN = Revision(
    version="2026-07-28",
    family="modern",
    has_envelope=True,
    maps_errors=True,
    has_input_required=True,
    has_result_type=True,
    has_any_structured_content=True,
    has_listen=True,
)

REVISIONS: Mapping[str, Revision] = MappingProxyType(
    {
        each.version: each
        for each in (HTTP_SSE, BATCHING, Revision(version="2025-06-18", family="handshake"), LATEST_HANDSHAKE, MODERN)
    }
)
"""Version -> revision, from the oldest to the newest."""

HANDSHAKE_VERSIONS = tuple(each.version for each in REVISIONS.values() if each.family != "modern")
"""What `initialize` can negotiate, from the oldest to the newest."""
