"""Revisions 2025-03-26 to 2025-11-25 over HTTP: sessions, POSTs answered with JSON or a logged stream, DELETE."""

from __future__ import annotations

from typing import Any, cast

from mcp_edge.calls.call import Call
from mcp_edge.calls.core import Core
from mcp_edge.calls.logged_duties import logged_duties
from mcp_edge.calls.logged_stream import LoggedStream
from mcp_edge.calls.outlets import JsonOnly
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.guards import prefers_stream
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import LATEST_HANDSHAKE
from mcp_edge.records.sessions import Session
from mcp_edge.sdk.connection import RequestConnection
from mcp_edge.user import User
from mcp_edge.wires.session_requests import connection_of, load_session, notified, open_session


async def post(core: Core, request: Request, user: User, message: Any) -> None:
    """Answer one POST."""
    if type(message) is list:
        from mcp_edge.wires import batch  # noqa: PLC0415 # one revision has batches, and hardly a client sends them

        session = await load_session(core, request, user)
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


async def _call(core: Core, request: Request, user: User, session: Session, message: dict[str, Any]) -> None:
    method, params = message["method"], message.get("params")
    outlet = LoggedStream(core, request, session, (method, params, message["id"]))
    if prefers_stream(request.raw.get(b"accept", b"")):
        await core.kernel.permissions.check(user, method, params)  # a stream that has begun has no other status
        await outlet.start()
    call = Call(core, request, user, session, outlet.message, outlet, duties=logged_duties)
    await call.run(connection_of(call, session))


async def _initialize(core: Core, request: Request, user: User, message: dict[str, Any]) -> None:
    params: dict[str, Any] = message.get("params") or {}
    session_id = core.sessions.mint()

    async def opened(call: Call) -> bytes:
        result = await open_session(core, call, session_id, params)
        request.extra.append((b"mcp-session-id", session_id.encode()))
        return result

    call = Call(core, request, user, None, ("initialize", params, message["id"]), JsonOnly(request))
    await call.run(RequestConnection(call, LATEST_HANDSHAKE.version, None, None, None), opened)
