"""What every request of a handshake session has in common, whichever wire brings it: its session and its connection."""

from __future__ import annotations

from typing import Any

from mcp_edge.calls.call import Call
from mcp_edge.calls.core import Core
from mcp_edge.errors import BadRequest
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import HANDSHAKE_VERSIONS, MODERN
from mcp_edge.records.cancellations import cancel
from mcp_edge.records.sessions import Session
from mcp_edge.sdk.connection import RequestConnection, check_description
from mcp_edge.sdk.dispatch import Dispatch
from mcp_edge.user import User

_VERSIONS = frozenset(version.encode() for version in HANDSHAKE_VERSIONS)


async def load_session(core: Core, request: Request, user: User) -> Session:
    """The session that the request names.

    Raises:
        BadRequest: it names none, or speaks a version that is not served.
        NotFound: there is no such session for this user.
    """
    version = request.raw.get(b"mcp-protocol-version")
    if version is not None and version not in _VERSIONS:
        served = ", ".join(HANDSHAKE_VERSIONS)
        raise BadRequest(
            f"Unsupported protocol version; this endpoint serves {served} and {MODERN.version}.", code=-32000
        )
    session_id = request.raw.get(b"mcp-session-id")
    if session_id is None:
        raise BadRequest("The Mcp-Session-Id header is missing: initialize first.", code=-32000)
    return await core.sessions.load(session_id.decode("latin-1"), user)


def connection_of(call: Dispatch, session: Session) -> RequestConnection:
    """The SDK's connection for one request or notification of the session."""
    return RequestConnection(call, session.version, session.key, session.client, session.client.capabilities)


async def open_session(core: Core, call: Call, session_id: str, params: dict[str, Any]) -> bytes:
    """Negotiate and write the session's record; the result of `initialize` is acknowledged only when it is stored."""
    check_description(jsonrpc.encode(params))
    connection = call.connection
    result = await core.kernel.request(call, connection, "initialize", params)
    assert isinstance(result, bytes)
    assert connection.client_params is not None
    client = connection.client_params.model_dump(by_alias=True, mode="json", exclude_none=True)
    call.session = await core.sessions.open(session_id, call.user, client, connection.protocol_version)
    call.client = call.session.label
    return result


async def notified(core: Core, request: Request, user: User, session: Session, message: dict[str, Any]) -> None:
    """Take a notification: a cancellation is stored for whichever instance runs the request."""
    method, params = message["method"], message.get("params")
    if method == "notifications/cancelled":
        await cancel(core.platform, session.key, session.principal, params)
        return
    call = core.notification(request, user, session, params)
    await core.kernel.notify(call, connection_of(call, session), method, params)
