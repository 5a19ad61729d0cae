"""Revisions 2025-03-26 to 2025-11-25 over HTTP: sessions, POSTs answered with JSON or a logged stream, DELETE."""

from __future__ import annotations

from typing import Any, cast

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from mcp_edge.calls import call
from mcp_edge.calls.core import Core
from mcp_edge.calls.reply import PlainReply, SilentReply
from mcp_edge.calls.suspension import SuspendableReply
from mcp_edge.errors import BadRequest
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.guards import prefers_stream
from mcp_edge.protocol.request import Request
from mcp_edge.records.cancellations import cancel
from mcp_edge.records.sessions import Session
from mcp_edge.sdk.connection import Link, check_description
from mcp_edge.sdk.dispatch import Exchange
from mcp_edge.user import User
from mcp_edge.wires import batch

_VERSIONS = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)


class OpeningReply(PlainReply):
    """The answer to `initialize`: never a stream, since its head names a session that must be stored first."""

    def _wake(self) -> None:
        """A quiet period passes unused."""


async def load_session(core: Core, request: Request, user: User) -> Session:
    """The session that the request names.

    Raises:
        BadRequest: it names none, or speaks a version that is not served.
        NotFound: there is no such session for this user.
    """
    version = request.raw.get(b"mcp-protocol-version")
    if version is not None and version not in _VERSIONS:
        served = ", ".join(HANDSHAKE_PROTOCOL_VERSIONS)
        raise BadRequest(f"Unsupported protocol version; this endpoint serves {served} and 2026-07-28.", code=-32000)
    session_id = request.raw.get(b"mcp-session-id")
    if session_id is None:
        raise BadRequest("The Mcp-Session-Id header is missing: initialize first.", code=-32000)
    return await core.sessions.load(session_id.decode("latin-1"), user)


def link_of(x: Exchange, session: Session) -> Link:
    """The SDK's connection for one request of the session."""
    return Link(x, session.version, session.key, session.client, session.client.capabilities)


async def post(core: Core, request: Request, user: User, message: Any) -> None:
    """Answer one POST."""
    if type(message) is list:
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


async def open_session(core: Core, x: Exchange, link: Link, session_id: str, params: dict[str, Any]) -> bytes:
    """Negotiate and write the session's record; the result of `initialize` is acknowledged only when it is stored."""
    check_description(jsonrpc.encode(params))
    result = await core.kernel.request(x, link, "initialize", params)
    assert isinstance(result, bytes)
    assert link.client_params is not None
    client = link.client_params.model_dump(by_alias=True, mode="json", exclude_none=True)
    x.session = await core.sessions.open(session_id, x.user, client, link.protocol_version)
    x.client = x.session.label
    return result


async def _call(core: Core, request: Request, user: User, session: Session, message: dict[str, Any]) -> None:
    method, params, request_id = message["method"], message.get("params"), message["id"]
    reply = SuspendableReply(request, core, user, session, (method, params, request_id))
    if prefers_stream(request.raw.get(b"accept", b"")):
        await core.kernel.permissions.check(user, method, params)  # a stream that has begun has no other status
        await reply.begin()
    x = core.exchange(request, user, session, request_id, params, reply)
    link = link_of(x, session)
    await call.run(core, x, link, method, params, reply, core.kernel.request(x, link, method, params))


async def notified(core: Core, request: Request, user: User, session: Session, message: dict[str, Any]) -> None:
    """Take a notification: a cancellation is stored for whichever instance runs the request."""
    method, params = message["method"], message.get("params")
    if method == "notifications/cancelled":
        await cancel(core.platform, session.key, session.principal, params)
        return
    x = core.exchange(request, user, session, None, params, SilentReply())
    await core.kernel.notify(x, link_of(x, session), method, params)
