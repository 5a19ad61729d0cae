"""GET on the handshake revisions: a session's standalone stream, or the stream that `Last-Event-ID` names."""

from __future__ import annotations

from mcp_edge.calls.core import Core
from mcp_edge.calls.duties import OneReader, SessionLife
from mcp_edge.calls.open_stream import OpenStream
from mcp_edge.errors import BadRequest, MethodNotAllowed
from mcp_edge.protocol import jsonrpc, sse
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import REVISIONS
from mcp_edge.records.changes import METHODS, Change, Cursor
from mcp_edge.records.listener import ListenerLease
from mcp_edge.records.polling import Backoff
from mcp_edge.records.sessions import Session
from mcp_edge.records.stream_log import LogReader, parse_event_id
from mcp_edge.user import User
from mcp_edge.wires import resumption
from mcp_edge.wires.session_requests import load_session


async def get(core: Core, request: Request, user: User) -> None:
    """Open the standalone stream, or resume the stream that `Last-Event-ID` names."""
    if not core.platform.shared:
        raise MethodNotAllowed("This host keeps no streams: poll with POST.", headers=resumption.POST_ONLY)
    session = await load_session(core, request, user)
    last = request.raw.get(b"last-event-id", b"").decode("latin-1")
    cursor, place = Cursor.parse(last), parse_event_id(last)
    if last and cursor is None:
        if place is None:
            raise BadRequest("The Last-Event-ID is none of ours.", code=-32000)
        await resumption.resume(core, request, user, session, LogReader(core.platform, *place))
    elif core.platform.streaming:
        await _listen(core, request, user, session, cursor)
    else:
        raise MethodNotAllowed("This host holds no streams: poll with POST.", headers=resumption.POST_ONLY)


async def _listen(core: Core, request: Request, user: User, session: Session, cursor: Cursor | None) -> None:
    """Hold the one stream of a session that belongs to no request: list_changed and resources/updated after `cursor`,
    or from now on.

    The newest GET holds the stream; an older one sees that and closes, so each message is on one stream only.
    """
    writer, listener = sse.Writer(request, core.platform.clock), ListenerLease(core.platform, session.key)
    others = OneReader(listener), SessionLife(core, session, at_once=False)
    async with OpenStream(core, request, user, writer, session.key, *others) as stream:
        cursor = cursor or await core.changes.now(session.principal)
        await listener.take()
        await writer.start()
        if REVISIONS[session.version].primes_streams:
            await writer.send(sse.priming(cursor.event_id()))
        backoff = Backoff(core.platform)
        while True:
            await backoff.next()
            for change, place in await core.changes.since(session.principal, cursor):
                cursor = place
                backoff.reset()
                for message in await messages_of(core, user, session, change):
                    await writer.send(sse.frame(message, cursor.event_id()))
            if not await stream.goes_on():
                break
        await writer.end(sse.retry())


async def messages_of(core: Core, user: User, session: Session, change: Change) -> list[bytes]:
    """The notifications that a change means for this session, as far as its user may read what changed."""
    if change.kind != "updated":
        return [jsonrpc.notification(METHODS[change.kind], None)]
    if change.uri is None:
        subscribed = await core.sessions.subscriptions(session)
    else:
        subscribed = [change.uri] if await core.sessions.subscribed(session, change.uri) else []
    readable = await core.kernel.permissions.readable(user, subscribed)
    return [jsonrpc.notification(METHODS["updated"], {"uri": uri}) for uri in readable]
