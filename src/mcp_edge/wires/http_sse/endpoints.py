"""Revision 2024-11-05: GET /sse holds the one stream, POST /messages stores and answers 202.

A message may reach any instance; it waits in the session's inbox, and the instance that holds the stream runs it: a
client that sends one POST at a time is never kept waiting by its own question. A client that lost its stream and comes
back with `Last-Event-ID`, as an EventSource does, goes on where it was, on any instance.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qs

import anyio

from mcp_edge.calls.core import Core
from mcp_edge.calls.open_stream import OpenStream
from mcp_edge.errors import BadRequest, EdgeError, MethodNotAllowed, NotFound, StoreUnavailable
from mcp_edge.protocol import bounds, guards, jsonrpc, sse
from mcp_edge.protocol.request import Request
from mcp_edge.records.cancellations import cancel
from mcp_edge.records.http_sse_streams import HttpSseStream, HttpSseStreams
from mcp_edge.records.mailbox import Mailbox
from mcp_edge.records.polling import Backoff
from mcp_edge.text.ascii import digits
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User
from mcp_edge.wires.http_sse.stream import Overtaken, Stream

logger = logging.getLogger(__name__)


async def post(core: Core, request: Request, user: User) -> None:
    """Take one message for the stream that `session_id` names."""
    request.only("POST")
    guards.check_json(request)
    given = parse_qs(request.query.decode("latin-1")).get("session_id", [])
    if len(given) != 1:
        raise BadRequest("session_id is missing: open /sse first.", code=-32000)
    key = core.sessions.key_of_posting_id(given[0])
    stream = None if key is None else await HttpSseStreams(core.platform).find(key, user)
    if key is None or stream is None or not stream.takes_posts:
        raise NotFound("Session not found: open /sse again.", code=-32001)
    message = bounds.parse(await request.body(core.platform.settings.max_body_bytes))
    try:
        await _take(core, user, key, stream, message, request.size)
    except EdgeError as e:
        request_id = jsonrpc.member(message, "id")
        e.request_id = request_id if jsonrpc.is_id(request_id) else None
        raise
    await request.answer(202, b"Accepted", kind=b"text/plain")


async def _take(core: Core, user: User, key: str, stream: HttpSseStream, message: Any, size: int) -> None:
    """Store one message, or what it says, for the session.

    Raises:
        CallerError
    """
    bounds.check(message, size)
    kind = jsonrpc.kind(message)
    if kind == "response":
        await core.questions.answer(key, user.principal, message)
    elif kind == "notification" and message["method"] == "notifications/cancelled":
        await cancel(core.platform, key, user.principal, message.get("params"))
    else:
        await core.kernel.permissions.check(user, message["method"], message.get("params"))  # the stream carries no 403
        await Mailbox(core.platform, key).put(message, user, held=stream.held)


async def open_stream(core: Core, request: Request, user: User) -> None:
    """Hold the stream of a new session, or of the session that `Last-Event-ID` names."""
    request.only("GET")
    guards.check_get(request)
    if not (core.platform.streaming and core.platform.shared):
        raise MethodNotAllowed("This host holds no streams: use /mcp.", headers={"allow": ""})
    session_id, _, number = request.raw.get(b"last-event-id", b"").decode("latin-1").rpartition(":")
    key = core.sessions.key_of(session_id) if digits(number) and len(number) < 9 else None
    resumes = key is not None and await HttpSseStreams(core.platform).find(key, user) is not None
    if not resumes:
        session_id, number = core.sessions.mint(), "0"
    writer = sse.Writer(request, core.platform.clock)
    async with OpenStream(core, request, user, writer, short_hash(session_id)) as held:
        stream = Stream(core, request, user, writer, session_id, int(number))
        await stream.open(resumes=resumes)
        try:
            await _work(core, held, stream, writer)
        except ExceptionGroup as e:  # the calls ran in a task group
            if e.split(StoreUnavailable)[1] is not None:
                raise
            raise StoreUnavailable(str(e.exceptions[0])) from e
        await stream.send_news()
        await writer.end(sse.retry())


async def _work(core: Core, held: OpenStream, stream: Stream, writer: sse.Writer) -> None:
    """Do what the stream is held for, as long as it may be held; then let the calls under way end."""
    backoff = Backoff(core.platform, core.platform.poll_intervals.inbox_s)
    async with anyio.create_task_group() as group:
        try:
            while True:
                await backoff.next()
                if await stream.work(group):
                    backoff.reset()
                if not await held.goes_on():
                    break
        except Overtaken:
            await writer.end(sse.retry())
        except StoreUnavailable as e:
            logger.warning("the store is away; the stream ends, its calls go on: %s", e)
            await writer.end(sse.retry())
        await stream.leave()
        await stream.finish_calls()
        group.cancel_scope.cancel()
