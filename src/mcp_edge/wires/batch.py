"""JSON-RPC batches, which exist in revision 2025-03-26 only: each message on its own, the answers in one array.

Nothing is asked and nothing streamed from inside a batch; notifications that its calls emit are dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mcp_edge import calls, jsonrpc
from mcp_edge.context import User
from mcp_edge.core import Core
from mcp_edge.errors import BadRequest, InsufficientScope
from mcp_edge.reply import PlainReply
from mcp_edge.request import Request
from mcp_edge.sessions import Session

VERSION = "2025-03-26"
_MOST = 64


class BatchReply(PlainReply):
    """Keeps one answer of a batch."""

    answer = b""

    async def emit(self, message: bytes, *, progress: bool = False) -> None:
        """Drop the message: a batch is answered with JSON."""

    async def finish(self, status: int, body: bytes) -> None:
        """Keep the response."""
        self._settle()
        self.answer = body

    def _wake(self) -> None:
        """A batch never becomes a stream."""


async def post(core: Core, request: Request, user: User, session: Session, messages: list[Any]) -> None:
    """Answer a batch: an array of responses, or 202 when it held no request.

    Raises:
        BadRequest: the session's revision has no batches, or the batch is empty, too long, or holds an `initialize`.
        InsufficientScope: the user may not do all of it; nothing of it was done.
    """
    from mcp_edge.wires.handshake import link_of, notified  # noqa: PLC0415 # the wire's own parts; batches are rare

    if session.version != VERSION:
        raise BadRequest(f"Batches exist in revision {VERSION} only; send one message.")
    if not 0 < len(messages) <= _MOST:
        raise BadRequest(f"A batch holds 1 to {_MOST} messages.")
    kinds = [jsonrpc.kind(message) for message in messages]
    if any(message.get("method") == "initialize" for message in messages):
        raise BadRequest("initialize must be sent alone.")

    await _check_scopes(core, user, messages)

    async def serve(message: dict[str, Any]) -> bytes:
        reply = BatchReply(request, core.platform)
        params = message.get("params")
        x = core.exchange(request, user, session, message["id"], params, reply)
        link = link_of(x, session)
        job = core.kernel.request(x, link, message["method"], params)
        await calls.run(core, x, link, message["method"], params, reply, job)
        return reply.answer

    for kind, message in zip(kinds, messages, strict=True):
        if kind == "notification":
            await notified(core, request, user, session, message)
        elif kind == "response":
            await core.questions.answer(session.key, message["id"], message)
    pending = [serve(message) for kind, message in zip(kinds, messages, strict=True) if kind == "request"]
    if not pending:
        await request.answer(202)
        return
    answers = await asyncio.gather(*pending)
    await request.answer(200, b"[" + b",".join(answers) + b"]")


async def _check_scopes(core: Core, user: User, messages: list[Any]) -> None:
    """Refuse a batch whole when one of its requests is not allowed: a response has one status and one challenge.

    Raises:
        InsufficientScope: with the scopes of all that it holds, so that the same batch passes after the step-up.
    """
    permissions = core.kernel.permissions
    for message in messages if user.scopes is not None else ():
        try:
            await permissions.check(user, message.get("method", ""), message.get("params"))
        except InsufficientScope:
            needed: set[str] = set()
            for each in messages:
                needed |= await permissions.needed(each.get("method", ""), each.get("params"))
            raise InsufficientScope(needed, permissions.held(user)) from None
