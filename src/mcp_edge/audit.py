"""One log line for each decision about access: who, which client, what, and why it was refused. Never a token.

It knows no store. Give it identifiers (a client id, a principal's hash), never what was presented as a credential.
"""

from __future__ import annotations

import logging
from typing import Literal

from mcp_edge.tokens import short_hash

logger = logging.getLogger(__name__)

_MAX_CHARS = 200


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

    `principal` is written as the beginning of its hash, which the store's keys have too; `reason` is for the operator,
    not for the caller.
    """
    fields = {
        "what": what,
        "outcome": outcome,
        "user": short_hash(principal)[:12] if principal else "",
        "client": client[:_MAX_CHARS],
        "address": address,
        "reason": reason[:_MAX_CHARS],
    }
    told = {name: value for name, value in fields.items() if value}
    text = " ".join(f"{name}={_quoted(value)}" for name, value in told.items())
    logger.log(logging.INFO if outcome == "allowed" else logging.WARNING, "%s", text, extra={"fields": told})


def _quoted(value: str) -> str:
    """The value as one word of one line, whatever a stranger has put into it."""
    return value if value.isprintable() and not set(value) & set(" '\"") else repr(value)
