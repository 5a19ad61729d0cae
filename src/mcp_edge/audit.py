"""One log line for each decision about access: who, which client, what, and why it was refused. Never a token.

The address is that of the request that is being served, wherever in it the decision is made. It knows no store. Give it
identifiers (a client id, a principal's hash), never what was presented as a credential.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Literal, Protocol

from mcp_edge.text.hashing import short_hash
from mcp_edge.text.log_text import clipped, quoted

logger = logging.getLogger(__name__)


class Served(Protocol):
    """The request that is being served."""

    def address(self) -> str:
        """Its client's address; empty where nobody knows it."""
        ...


SERVED: ContextVar[Served | None] = ContextVar("mcp-edge.served", default=None)
"""Set once for each request, so that no decision about it can be written without its address."""


def decided(
    what: str,
    outcome: Literal["allowed", "refused"],
    *,
    principal: str = "",
    client: str = "",
    address: str = "",
    reason: str = "",
) -> None:
    """Log a decision: `what` was asked, such as `token`, `consent` or `tools/call delete_note`.

    `principal` is written as the beginning of its hash, which the store's keys have too; `address` is that of the
    request unless it is given; `reason` is for the operator, not for the caller. Each is cut where it is long.
    """
    served = SERVED.get()
    fields = {
        "what": what,
        "outcome": outcome,
        "user": short_hash(principal)[:12] if principal else "",
        "client": client,
        "address": address or (served.address() if served else ""),
        "reason": reason,
    }
    told = {name: clipped(value) for name, value in fields.items() if value}
    text = " ".join(f"{name}={quoted(value)}" for name, value in told.items())
    logger.log(logging.INFO if outcome == "allowed" else logging.WARNING, "%s", text, extra={"fields": told})
