"""JSON-RPC batches, which exist in revision 2025-03-26 only: each message on its own, the answers in one array.

Nothing is asked and nothing streamed from inside a batch; notifications that its calls emit are dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mcp_edge.auth import rate_limit
from mcp_edge.calls.call import Call
from mcp_edge.calls.core import Core
from mcp_edge.calls.duties import Cancellation, Duties, SessionLife, Slot
from mcp_edge.calls.outcome import Outcome
from mcp_edge.errors import BadRequest, InsufficientScope
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import BATCHING, REVISIONS
from mcp_edge.records.sessions import Session
from mcp_edge.user import User
from mcp_edge.wires.session_requests import connection_of, notified

_MOST = 64
_AT_ONCE = 16
"""Requests of a batch that run side by side: each writes what the others write, and a lost race is a write, too."""


class Member:
    """The outlet of one request of a batch: it keeps the response; a request that was stopped has none."""

    can_ask = can_send_away = is_stream = detached = False
    answer = b""

    async def open(self) -> None:
        """A batch never becomes a stream."""

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Drop the message: a batch is answered with JSON."""

    async def flush(self) -> None:
        """There is nothing to send."""

    def detach(self) -> None:
        """A disconnect is not a cancellation."""

    async def send_away(self) -> None:
        """There is no stream."""

    async def close(self, outcome: Outcome) -> bool:
        """Keep the response."""
        self.answer = outcome.body or b""
        return False


async def post(core: Core, request: Request, user: User, session: Session, messages: list[Any]) -> None:
    """Answer a batch: an array of responses, or 202 when it held no request.

    Raises:
        BadRequest: the session's revision has no batches, or the batch is empty, too long, or holds an `initialize` or
            a response to what was never asked.
        TooMany: its messages are more than the host's limiter allows; nothing of it was done.
        InsufficientScope: the user may not do all of it; nothing of it was done.
    """
    kinds = _check(session, messages)
    await _check_scopes(core, user, messages)
    await rate_limit.check(core.platform, request, user, len(messages) - 1)  # the request itself has been counted
    began, room = core.platform.clock(), asyncio.Semaphore(_AT_ONCE)

    def duties(call: Call) -> Duties:
        return Duties(
            Slot(core.platform, "streams", user),
            Cancellation(core.platform, session.key, call.message[2], lambda: began),
            SessionLife(core, session, every_s=0),
        )

    async def serve(message: dict[str, Any]) -> bytes:
        async with room:
            outlet, parts = Member(), (message["method"], message.get("params"), message["id"])
            call = Call(core, request, user, session, parts, outlet, duties=duties)
            await call.run(connection_of(call, session))
            return outlet.answer

    for kind, message in zip(kinds, messages, strict=True):
        if kind == "response":  # first of all, for one may be refused
            await core.questions.answer(session.key, session.principal, message)
    for kind, message in zip(kinds, messages, strict=True):
        if kind == "notification":
            await notified(core, request, user, session, message)
    pending = [serve(message) for kind, message in zip(kinds, messages, strict=True) if kind == "request"]
    answers = [answer for answer in await asyncio.gather(*pending) if answer]
    if answers:
        await request.answer(200, b"[" + b",".join(answers) + b"]")
    else:
        await request.answer(202)


def _check(session: Session, messages: list[Any]) -> list[str]:
    """The kinds of the messages, which may stand in one batch.

    Raises:
        BadRequest: as `post`.
    """
    if not REVISIONS[session.version].has_batches:
        raise BadRequest(f"Batches exist in revision {BATCHING.version} only; send one message.")
    if not 0 < len(messages) <= _MOST:
        raise BadRequest(f"A batch holds 1 to {_MOST} messages.")
    kinds = [jsonrpc.kind(message) for message in messages]
    if any(message.get("method") == "initialize" for message in messages):
        raise BadRequest("initialize must be sent alone.")
    return list(kinds)


async def _check_scopes(core: Core, user: User, messages: list[Any]) -> None:
    """Refuse a batch whole when one of its requests is not allowed: a response has one status and one challenge.

    Raises:
        InsufficientScope: with the scopes of all that it holds, so that the same batch passes after the step-up.
    """
    permissions = core.kernel.permissions
    reading = permissions.reading()
    for message in messages if user.scopes is not None else ():
        try:
            await permissions.check(user, message.get("method", ""), message.get("params"), reading)
        except InsufficientScope:
            needed: set[str] = set()
            for each in messages:
                needed |= await permissions.needed(each.get("method", ""), each.get("params"), reading)
            raise InsufficientScope(needed, permissions.held(user)) from None
