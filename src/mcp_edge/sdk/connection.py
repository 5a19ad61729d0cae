"""The client of one request as the SDK sees it: its connection, and the envelope in which it describes itself.

It knows no session and no HTTP.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import cached_property
from typing import Any, NamedTuple

import anyio
import mcp_types as t
from mcp.server.connection import Connection
from mcp.shared.dispatcher import Outbound
from mcp_types import methods
from pydantic import ValidationError

from mcp_edge.errors import BadRequest
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.revisions import MODERN

ENVELOPE_KEYS = (t.PROTOCOL_VERSION_META_KEY, t.CLIENT_INFO_META_KEY, t.CLIENT_CAPABILITIES_META_KEY)
"""The members of `_meta` that are an envelope."""

MAX_CLIENT_BYTES = 64 * 1024
"""Bytes of JSON in which a client describes itself: its name, icons and capabilities."""

_KNOWN = 512
_KNOWN_BYTES = 4096


class Envelope(NamedTuple):
    """What the `_meta` of a request says of its client (MCP 2026-07-28 basic)."""

    client: t.InitializeRequestParams | None
    capabilities: t.ClientCapabilities | None
    label: str
    """The client's `name/version`, for the log; empty where the client has not named itself."""
    valid: bool
    """Whether the SDK accepts the envelope as it is."""


_envelopes: dict[bytes, Envelope] = {}
"""Bytes of an envelope -> what they mean. Nothing else decides what they mean, so no entry can go stale."""


def check_description(encoded: bytes) -> None:
    """Refuse a client's description of itself before any of it is typed or stored. `encoded` is its JSON.

    Raises:
        BadRequest: it has over `MAX_CLIENT_BYTES` bytes.
    """
    if len(encoded) > MAX_CLIENT_BYTES:
        raise BadRequest("The client's description is too long.", code=jsonrpc.INVALID_PARAMS)


def envelope_of(meta: dict[str, Any]) -> Envelope:
    """The envelope in the `_meta` of a request of revision 2026-07-28.

    Raises:
        BadRequest: the client's description is over `MAX_CLIENT_BYTES` bytes.
    """
    info, capabilities = meta.get(t.CLIENT_INFO_META_KEY), meta.get(t.CLIENT_CAPABILITIES_META_KEY)
    key = jsonrpc.encode((info, capabilities))
    known = _envelopes.get(key)
    if known is None:
        check_description(key)
        known = _read({k: meta[k] for k in ENVELOPE_KEYS if k in meta})
        if len(_envelopes) >= _KNOWN:
            _envelopes.clear()
        if len(key) <= _KNOWN_BYTES:
            _envelopes[key] = known
    return known


def _read(envelope: dict[str, Any]) -> Envelope:
    connection = Connection.from_envelope(
        MODERN.version, envelope.get(t.CLIENT_INFO_META_KEY), envelope.get(t.CLIENT_CAPABILITIES_META_KEY)
    )
    client = connection.client_params
    label = f"{client.client_info.name}/{client.client_info.version}"[:80] if client else ""
    try:
        methods.validate_client_request("tools/call", MODERN.version, {"name": "any", "_meta": envelope})
    except ValidationError:
        return Envelope(client, connection.client_capabilities, label, valid=False)
    return Envelope(client, connection.client_capabilities, label, valid=True)


class RequestConnection(Connection):
    """The SDK's `Connection` for one request, initialized from the start; what costs time is made at its first use.

    It has every attribute of mcp 2.3's `Connection`. The `__init__` of that one makes an event, an exit stack and a
    dictionary, which next to no call needs.
    """

    needs_clean_up = False
    """Whether a handler has used the exit stack, so `aclose` has something to run."""

    def __init__(  # pyright: ignore[reportMissingSuperCall] # the base builds what __getattr__ builds on demand
        self,
        outbound: Outbound,
        version: str,
        session_id: str | None,
        client: t.InitializeRequestParams | None,
        capabilities: t.ClientCapabilities | None,
        *,
        certain: bool = True,
    ) -> None:
        """`client` and `capabilities` are those of `initialize` or of the envelope; None where the client gave none."""
        self.outbound = outbound
        self.protocol_version = version
        self.session_id = session_id
        self.client_capabilities = capabilities
        self.client_params = client
        self.certain = certain
        """Whether the SDK has accepted the client's description of itself before."""

    @cached_property
    def initialized(self) -> anyio.Event:  # pyright: ignore[reportIncompatibleVariableOverride] # made at first use
        """Set from the start: a session's client has sent `initialize`, and one with an envelope need not."""
        event = anyio.Event()
        event.set()
        return event

    @cached_property
    def state(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride] # made at first use
        """What handlers and middleware note for the rest of the request."""
        return {}

    @cached_property
    def exit_stack(self) -> AsyncExitStack:  # pyright: ignore[reportIncompatibleVariableOverride] # made at first use
        """What runs when the request is answered."""
        self.needs_clean_up = True
        return AsyncExitStack()

    async def aclose(self) -> None:
        """Run what handlers have pushed on the exit stack."""
        if self.needs_clean_up:
            await self.exit_stack.aclose()
