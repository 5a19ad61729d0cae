"""The SDK's `Connection` for one request, and the envelope that a 2026-07-28 request brings its client in.

A `Link` does without the event and the exit stack that only a held connection uses. It knows no session.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
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
"""Of a client's description of itself: its name, icons and capabilities."""

_KNOWN = 512
_KNOWN_BYTES = 4096


class Envelope(NamedTuple):
    """What the `_meta` of a 2026-07-28 request says of its client."""

    client: t.InitializeRequestParams | None
    capabilities: t.ClientCapabilities | None
    label: str
    """`name/version`, for the log."""
    valid: bool
    """Whether the SDK accepts the envelope."""


_envelopes: dict[bytes, Envelope] = {}
"""A pure function of the envelope's bytes, so nothing can go stale; bounded."""


def check_description(encoded: bytes) -> None:
    """Refuse a client that says too much of itself, before any of it is typed or stored.

    Raises:
        BadRequest
    """
    if len(encoded) > MAX_CLIENT_BYTES:
        raise BadRequest("The client's description is too long.", code=jsonrpc.INVALID_PARAMS)


def envelope_of(meta: dict[str, Any]) -> Envelope:
    """The envelope in `meta`, whose version is 2026-07-28.

    Raises:
        BadRequest: it is too long.
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


class Link(Connection):
    """A born-ready connection whose costly parts are made when somebody asks for them."""

    needs_clean_up = False
    """Whether a handler has asked for the exit stack, so that `aclose` has something to run."""

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
        self.outbound = outbound
        self.protocol_version = version
        self.session_id = session_id
        self.client_capabilities = capabilities
        self.client_params = client
        self.certain = certain
        """Whether the SDK has accepted the client's description before."""

    def __getattr__(self, name: str) -> Any:
        """`initialized`, `exit_stack` and `state`, made at first use. Called for missing attributes only."""
        if name == "initialized":
            value: Any = anyio.Event()
            value.set()
        elif name == "exit_stack":
            value, self.needs_clean_up = AsyncExitStack(), True
        elif name == "state":
            value = {}
        else:
            raise AttributeError(name)
        setattr(self, name, value)
        return value

    async def aclose(self) -> None:
        """Run what a handler pushed on the exit stack, if any did."""
        if self.needs_clean_up:
            await self.exit_stack.aclose()
