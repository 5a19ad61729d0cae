"""A call's stream, resumed on any instance (MCP 2025-11-25 transports, Resumability and Redelivery).

What followed is replayed, then the log is tailed; where nobody runs the call any more, it goes on here.
"""

from __future__ import annotations

from typing import Any

from mcp_edge.calls import suspension
from mcp_edge.calls.call import Call
from mcp_edge.calls.core import Core
from mcp_edge.calls.duties import OneReader
from mcp_edge.calls.failures import Interrupted
from mcp_edge.calls.logged_duties import logged_duties
from mcp_edge.calls.logged_stream import LoggedStream
from mcp_edge.calls.open_stream import OpenStream
from mcp_edge.calls.outcome import Outcome, Stop
from mcp_edge.errors import BadRequest, MethodNotAllowed
from mcp_edge.protocol import sse
from mcp_edge.protocol.request import Request
from mcp_edge.records.cancellations import was_cancelled
from mcp_edge.records.listener import ListenerLease
from mcp_edge.records.polling import Backoff
from mcp_edge.records.sessions import Session
from mcp_edge.records.stream_head import Head
from mcp_edge.records.stream_log import END, FINAL, MESSAGE, LogReader, LogWriter
from mcp_edge.user import User
from mcp_edge.wires.session_requests import connection_of

POST_ONLY = {"allow": "POST, DELETE"}


async def resume(core: Core, request: Request, user: User, session: Session, log: LogReader) -> None:
    """Replay what followed on that stream, then tail it; run its call on when nobody does."""
    head = await _to_resume(core, user, session, log)
    writer, listener = sse.Writer(request, core.platform.clock), ListenerLease(core.platform, log.stream)
    async with OpenStream(core, request, user, writer, log.stream, OneReader(listener)) as stream:
        await listener.take()
        await writer.start()
        backoff = Backoff(core.platform)
        while True:
            await backoff.next()
            before = log.seq
            if await _replay(log, writer):
                return
            if log.seq != before:
                backoff.reset()
            if not await stream.goes_on():
                if core.platform.clock() < head.until:
                    stream.leave_slot()
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
                    await stream.let_go()
                    await _run_on(core, request, user, session, journal, writer, listener)
                return


async def _to_resume(core: Core, user: User, session: Session, log: LogReader) -> Head:
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
        raise MethodNotAllowed("The stream has ended; there is nothing to resume.", headers=POST_ONLY)
    return found[0]


async def _replay(log: LogReader, writer: sse.Writer) -> bool:
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
    core: Core,
    request: Request,
    user: User,
    session: Session,
    journal: LogWriter,
    writer: sse.Writer,
    listener: ListenerLease,
) -> None:
    """Be the instance that runs the call from here."""
    head = journal.head
    outlet = LoggedStream(core, request, session, (head.method, head.params, head.request_id), writer)
    outlet.adopt(journal, listener)
    if await was_cancelled(core.platform, session.key, head.request_id, head.began):
        await outlet.close(Outcome.stopped(Stop.CANCELLED))
        return

    async def interrupted(call: Call) -> Any:
        raise Interrupted(call.method)

    async def resumed(call: Call) -> Any:
        return await suspension.resume(call, outlet, LogReader(core.platform, journal.stream, head.asked_after))

    call = Call(core, request, user, session, outlet.message, outlet, duties=logged_duties)
    again = None if head.again else interrupted
    await call.run(connection_of(call, session), resumed if head.suspended else again)
