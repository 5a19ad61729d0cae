"""GET on the handshake revisions: the standalone stream of changes, and a call's stream resumed on any instance."""

from __future__ import annotations

from mcp_edge.calls import call
from mcp_edge.calls.core import Core
from mcp_edge.calls.logged import PRIMED_SINCE
from mcp_edge.calls.open_stream import Held, Sole
from mcp_edge.calls.suspension import SuspendableReply
from mcp_edge.errors import BadRequest, MethodNotAllowed
from mcp_edge.protocol import jsonrpc, sse
from mcp_edge.protocol.request import Request
from mcp_edge.records.cancellations import was_cancelled
from mcp_edge.records.changes import METHODS, Change, Cursor
from mcp_edge.records.polling import Pauses
from mcp_edge.records.sessions import Session
from mcp_edge.records.stream_head import Head
from mcp_edge.records.stream_log import END, FINAL, MESSAGE, Journal, Log, parse_event_id
from mcp_edge.user import User
from mcp_edge.wires.session_requests import link_of, load_session

_POST_ONLY = {"allow": "POST, DELETE"}


async def get(core: Core, request: Request, user: User) -> None:
    """Open the standalone stream, or resume the stream that `Last-Event-ID` names."""
    if not core.platform.shared:
        raise MethodNotAllowed("This host keeps no streams: poll with POST.", headers=_POST_ONLY)
    session = await load_session(core, request, user)
    last = request.raw.get(b"last-event-id", b"").decode("latin-1")
    cursor, place = Cursor.parse(last), parse_event_id(last)
    if last and cursor is None:
        if place is None:
            raise BadRequest("The Last-Event-ID is none of ours.", code=-32000)
        await _resume(core, request, user, session, Log(core.platform, *place))
    elif core.platform.streaming:
        await Standalone(core, request, user, session).hold(cursor)
    else:
        raise MethodNotAllowed("This host holds no streams: poll with POST.", headers=_POST_ONLY)


# -- the standalone stream -------------------------------------------------------------------------------------------


class Standalone:
    """The one stream of a session that belongs to no request: list_changed and resources/updated.

    The newest GET holds it; an older one sees that and closes, so each message is on one stream only.
    """

    def __init__(self, core: Core, request: Request, user: User, session: Session) -> None:
        self._core = core
        self._user = user
        self._request = request
        self._session = session
        self._sole = Sole(core.platform, session.key)

    async def hold(self, cursor: Cursor | None) -> None:
        """Send changes after `cursor`, or from now on."""
        core, session, writer = self._core, self._session, sse.Writer(self._request)
        async with Held(core, self._request, self._user, writer, session.key) as line:
            cursor = cursor or await core.changes.now(session.principal)
            await self._sole.take()
            await writer.start()
            if session.version >= PRIMED_SINCE:
                await writer.send(sse.priming(cursor.event_id()))
            checked = core.platform.clock()
            async for _ in (looking := Pauses(core.platform)):
                for change, place in await core.changes.since(session.principal, cursor):
                    cursor = place
                    looking.soon()
                    for message in await messages_of(core, self._user, session, change):
                        await writer.send(sse.frame(message, cursor.event_id()))
                if not await line.goes_on() or not await self._sole.is_mine():
                    break
                if core.platform.clock() - checked > core.platform.settings.lease_s / 3:
                    checked = core.platform.clock()
                    if not await core.sessions.alive(session):
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


# -- a call's stream, resumed ------------------------------------------------------------------------------------------


async def _resume(core: Core, request: Request, user: User, session: Session, log: Log) -> None:
    """Replay what followed on that stream, then tail it; run its call on when nobody does."""
    head = await _to_resume(core, user, session, log)
    writer, sole = sse.Writer(request), Sole(core.platform, log.stream)
    async with Held(core, request, user, writer, log.stream) as line:
        await sole.take()
        await writer.start()
        async for _ in (looking := Pauses(core.platform)):
            before = log.seq
            if await _replay(log, writer):
                return
            if log.seq != before:
                looking.soon()
            if not await line.goes_on() or not await sole.is_mine():
                if core.platform.clock() < head.until:
                    line.leave_place()
                await writer.end(sse.priming(f"{log.stream}.{log.seq}"))
                return
            found = await log.head()
            if found is None:
                await writer.end()
                return
            head, version = found
            if core.platform.clock() < head.until:
                continue
            journal = await log.take_over(head, version)
            if journal is not None:
                if not await _replay(log, writer):
                    await line.let_go()
                    await _run_on(core, request, user, session, journal, writer, sole)
                return


async def _to_resume(core: Core, user: User, session: Session, log: Log) -> Head:
    """The head of the stream, if there is something to resume.

    Raises:
        BadRequest: there is no such stream, or event of it, in this session.
        InsufficientScope: the user may not do what was asked for.
        MethodNotAllowed: the stream has ended.
    """
    found = await log.head()
    if found is None or found[0].session != session.key or found[0].principal != user.principal:
        raise BadRequest("The Last-Event-ID is unknown: its stream has ended long ago or is not yours.", code=-32000)
    if found[0].is_short:
        await log.fill(found[0])
    await core.kernel.permissions.check(user, found[0].method, found[0].params)
    last = await log.last_seen()
    if last is None:
        raise BadRequest("The Last-Event-ID is unknown: no such event was sent.", code=-32000)
    if last in (FINAL, END):
        raise MethodNotAllowed("The stream has ended; there is nothing to resume.", headers=_POST_ONLY)
    return found[0]


async def _replay(log: Log, writer: sse.Writer) -> bool:
    """Send what is new. True when the stream has ended."""
    async for entry in log.news():
        if entry.kind == FINAL:
            await writer.end(sse.frame(entry.data, f"{log.stream}.{entry.seq}"))
            return True
        if entry.kind == END:
            # Never an empty body: clients come back with this id, and the 405 that it gets ends their polling.
            await writer.end(sse.priming(f"{log.stream}.{entry.seq}"))
            return True
        if entry.kind == MESSAGE:  # a takeover, or what only a newer release knows, is not the client's business
            await writer.send(sse.frame(entry.data, f"{log.stream}.{entry.seq}"))
    return False


async def _run_on(
    core: Core, request: Request, user: User, session: Session, journal: Journal, writer: sse.Writer, sole: Sole
) -> None:
    """Be the instance that runs the call from here."""
    head = journal.head
    reply = SuspendableReply(request, core, user, session, (head.method, head.params, head.request_id), writer)
    reply.adopt(journal, sole)
    if await was_cancelled(core.platform, session.key, head.request_id, head.began):
        reply.why = "cancelled"
        await reply.abandon()
        return
    x = core.exchange(request, user, session, head.request_id, head.params, reply)
    link = link_of(x, session)
    if head.suspended:
        job = call.resume(core, x, link, head, reply, Log(core.platform, journal.stream, head.asked_after))
    elif head.again:
        job = core.kernel.request(x, link, head.method, head.params)
    else:
        job = call.interrupted(head.method)
    await call.run(core, x, link, head.method, head.params, reply, job)
