"""Revisions 2025-03-26 to 2025-11-25 over HTTP: sessions, POSTs answered with JSON or a logged stream, DELETE."""

from __future__ import annotations

from typing import Any, cast

from mcp_types.version import LATEST_HANDSHAKE_VERSION

from mcp_edge.calls import call
from mcp_edge.calls.core import Core
from mcp_edge.calls.reply import PlainReply
from mcp_edge.calls.suspension import SuspendableReply
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.guards import prefers_stream
from mcp_edge.protocol.request import Request
from mcp_edge.records.sessions import Session
from mcp_edge.sdk.connection import Link
from mcp_edge.user import User
from mcp_edge.wires.session_requests import link_of, load_session, notified, open_session


class OpeningReply(PlainReply):
    """The answer to `initialize`: never a stream, since its head names a session that must be stored first."""

    def _wake(self) -> None:
        """A quiet period passes unused."""


async def post(core: Core, request: Request, user: User, message: Any) -> None:
    """Answer one POST."""
    if type(message) is list:
        session = await load_session(core, request, user)
        from mcp_edge.wires import batch  # noqa: PLC0415 # one revision has batches, and hardly a client sends them

        await batch.post(core, request, user, session, cast("list[Any]", message))
        return
    kind = jsonrpc.kind(message)
    if kind == "request" and message["method"] == "initialize":
        await _initialize(core, request, user, message)
        return
    session = await load_session(core, request, user)
    if kind == "request":
        await _call(core, request, user, session, message)
    elif kind == "notification":
        await notified(core, request, user, session, message)
        await request.answer(202)
    else:
        await core.questions.answer(session.key, session.principal, message)
        await request.answer(202)


async def delete(core: Core, request: Request, user: User) -> None:
    """End the session: 204, and 404 from then on."""
    await core.sessions.end(await load_session(core, request, user))
    await request.answer(204)


async def _initialize(core: Core, request: Request, user: User, message: dict[str, Any]) -> None:
    params: dict[str, Any] = message.get("params") or {}
    reply = OpeningReply(request, core.platform)
    x = core.exchange(request, user, None, message["id"], params, reply)
    session_id = core.sessions.mint()
    link = Link(x, LATEST_HANDSHAKE_VERSION, None, None, None)

    async def job() -> bytes:
        result = await open_session(core, x, link, session_id, params)
        request.extra.append((b"mcp-session-id", session_id.encode()))
        return result

    await call.run(core, x, link, "initialize", params, reply, job())


async def _call(core: Core, request: Request, user: User, session: Session, message: dict[str, Any]) -> None:
    method, params, request_id = message["method"], message.get("params"), message["id"]
    reply = SuspendableReply(request, core, user, session, (method, params, request_id))
    if prefers_stream(request.raw.get(b"accept", b"")):
        await core.kernel.permissions.check(user, method, params)  # a stream that has begun has no other status
        await reply.begin()
    x = core.exchange(request, user, session, request_id, params, reply)
    link = link_of(x, session)
    await call.run(core, x, link, method, params, reply, core.kernel.request(x, link, method, params))
