"""Revision 2024-11-05: GET /sse holds the one stream, POST /messages stores and answers 202.

A message may reach any instance; it waits in the session's inbox, and the instance that holds the stream runs it: a
client that sends one POST at a time is never kept waiting by its own question. A client that lost its stream and comes
back with `Last-Event-ID`, as an EventSource does, goes on where it was, on any instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import anyio
import anyio.abc
from mcp.shared.exceptions import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from mcp_edge import asking, calls, guards, jsonrpc, sse
from mcp_edge.cadence import Pauses
from mcp_edge.changes import Cursor
from mcp_edge.context import User
from mcp_edge.core import Core
from mcp_edge.errors import BadRequest, InsufficientScope, MethodNotAllowed, NotFound, StoreUnavailable, TooMany
from mcp_edge.exchange import Exchange
from mcp_edge.held import Held, Sole
from mcp_edge.link import Link
from mcp_edge.logged import was_cancelled
from mcp_edge.mailbox import Letter, Mailbox
from mcp_edge.reply import PlainReply, SilentReply
from mcp_edge.request import Request
from mcp_edge.results import Asked
from mcp_edge.sessions import Session
from mcp_edge.tokens import short_hash
from mcp_edge.wires.handshake import INTERRUPTED, cancelled, link_of, open_session
from mcp_edge.wires.streaming import messages_of

logger = logging.getLogger(__name__)

_SELDOM = 4
"""Only the inbox is looked into every time; all else every so many times, since each look costs a read of the store."""
_ALL: dict[str, Any] = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}


async def post(core: Core, request: Request, user: User) -> None:
    """Take one message for the stream that `session_id` names."""
    request.only("POST")
    guards.check_json(request)
    given = parse_qs(request.query.decode("latin-1")).get("session_id", [])
    if len(given) != 1:
        raise BadRequest("session_id is missing: open /sse first.", code=-32000)
    key = core.sessions.key_of_posting_id(given[0])
    if key is None or not await _is_open(core, user, key):
        raise NotFound("Session not found: open /sse again.", code=-32001)
    message = jsonrpc.parse(await request.body(core.platform.settings.max_body_bytes))
    kind = jsonrpc.kind(message)
    if kind == "response":
        if not await core.questions.answer(key, message["id"], message):
            raise BadRequest("This session was never asked that: the response's id is unknown.")
    elif kind == "notification" and message["method"] == "notifications/cancelled":
        await cancelled(core, key, message.get("params"))
    elif await _may_post(core, user, message):
        await Mailbox(core.platform, key).put(message, user.scopes)
    else:
        raise TooMany("The streams of this hour hold too many bytes.", headers={"retry-after": "60"})
    await request.answer(202, b"Accepted", kind=b"text/plain")


async def _may_post(core: Core, user: User, message: dict[str, Any]) -> bool:
    """Whether the user may log more. The stream cannot carry a 403, so a missing scope is told here.

    Raises:
        InsufficientScope
    """
    try:
        await core.kernel.permissions.check(user, message["method"], message.get("params"))
    except InsufficientScope as e:
        e.request_id = message.get("id")
        raise
    return await core.quotas.may_log(user.principal)


async def _is_open(core: Core, user: User, key: str) -> bool:
    """Whether a stream was opened for this user under `key`, and can be held or resumed still."""
    holder = await core.platform.records.get(f"door/{key}")
    return holder is not None and holder.decode() == user.principal


async def open_stream(core: Core, request: Request, user: User) -> None:
    """Hold the stream of a new session, or of the session that `Last-Event-ID` names."""
    request.only("GET")
    guards.check_get(request)
    if not (core.platform.streaming and core.platform.shared):
        raise MethodNotAllowed("This host holds no streams: use /mcp.", headers={"allow": ""})
    session_id, _, number = request.raw.get(b"last-event-id", b"").decode("latin-1").rpartition(":")
    key = core.sessions.key_of(session_id) if number.isascii() and number.isdigit() and len(number) < 9 else None
    if key is None or not await _is_open(core, user, key):
        session_id, number = core.sessions.mint(), "0"
    writer = sse.Writer(request)
    async with Held(core, request, user, writer) as line:
        stream = Stream(core, request, user, writer, session_id, int(number))
        await stream.open()
        async with anyio.create_task_group() as group:
            try:
                async for _ in (looking := Pauses(core.platform, core.platform.cadence.inbox)):
                    if await stream.work(group):
                        looking.soon()
                    if not await line.goes_on():
                        break
            except Overtaken:
                pass
            except StoreUnavailable as e:
                logger.warning("the store is away; the stream ends, its calls go on: %s", e)
                await writer.end(sse.retry())
            await stream.finish_calls()
            group.cancel_scope.cancel()
        await stream.send_news()
        await writer.end(sse.retry())


class Overtaken(Exception):  # a reason to stop, and no error
    """The client came back: a newer GET holds the session's stream."""


class Stream:
    """One held /sse stream: its session, its mailbox, the calls that run here."""

    def __init__(
        self, core: Core, request: Request, user: User, writer: sse.Writer, session_id: str, sent: int
    ) -> None:
        self.request = request
        self._core = core
        self._user = user
        self._writer = writer
        self._id = session_id
        self._key = short_hash(session_id)
        self._box = Mailbox(core.platform, self._key, sent)
        self.sole = Sole(core.platform, self._key)
        self._session: Session | None = None
        self._cursor = Cursor()
        self._calls: dict[str, tuple[StreamReply, Letter]] = {}
        self._looks = 0
        self._beat_at = 0.0
        self._logged = 0
        """Bytes not counted yet."""

    async def open(self) -> None:
        """Tell the client where to post. The one secret in a URL: good for posting only, bound to the user."""
        platform = self._core.platform
        # As long as the stream may be held, and then resumed: opening streams that nobody uses must not fill the store.
        ttl_s = platform.stream_budget_s + platform.settings.stream_ttl_s
        await platform.records.put(f"door/{self._key}", self._user.principal.encode(), ttl_s=ttl_s)
        await self.sole.take()
        self._session = await self._core.sessions.find(self._id, self._user) or await self._of_returning_client()
        self._cursor = await self._core.changes.now(self._user.principal)
        await self._writer.start()
        path = self.request.scope.get("root_path", "") + "/messages?session_id="
        path += self._core.sessions.posting_id(self._key)
        hello = f"retry: {sse.RETRY_MS}\nevent: endpoint\nid: {self._id}:{self._box.sent}\ndata: {path}\n\n"
        await self._writer.send(hello.encode())

    async def _of_returning_client(self) -> Session | None:
        """A session for a client that lost its stream and comes back without saying which one it was.

        The TypeScript clients drop the `Last-Event-ID` of their EventSource, and post to the new endpoint without
        `initialize`. The first GET precedes the negotiation, so only one that comes back names a version. What this
        client can be asked was said on the lost session; everything is tried.
        """
        version = self.request.raw.get(b"mcp-protocol-version", b"").decode("latin-1")
        if version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return None
        client: dict[str, Any] = {
            "protocolVersion": version,
            "capabilities": _ALL,
            "clientInfo": {"name": "returned", "version": ""},
        }
        return await self._core.sessions.open(self._id, self._user, client, version)

    async def work(self, group: anyio.abc.TaskGroup) -> bool:
        """Take what has arrived, look after what runs, send what is new. False when there was nothing.

        Raises:
            Overtaken
        """
        received = False
        async for letter in self._box.take():
            received = True
            await self._receive(group, letter, run=True)
        self._looks += 1
        if self._looks % _SELDOM and not received:
            return False
        if not await self.sole.is_mine():
            raise Overtaken
        if self._session is not None:
            for change, cursor in await self._core.changes.since(self._user.principal, self._cursor):
                self._cursor = cursor
                for message in await messages_of(self._core, self._user, self._session, change):
                    await self.emit(message)
        await self._look_after(group)
        return await self.send_news() or received

    async def send_news(self) -> bool:
        """Send what the outbox holds after the last message sent."""
        async with self._writer.lock:
            sent = self._box.sent
            async for number, message in self._box.news():
                await self._writer.send(sse.frame(message, f"{self._id}:{number}"))
            return self._box.sent != sent

    async def finish_calls(self) -> None:
        """Let the calls under way end; their answers wait in the outbox for the client's return."""
        while self._calls and not self._core.platform.drain.expired:
            with contextlib.suppress(StoreUnavailable):
                await self._look_after(None)
                if not self._writer.detached:
                    await self.send_news()
            await anyio.sleep(self._core.platform.cadence.inbox)

    async def emit(self, message: bytes) -> None:
        """Put one message on the stream, and send it at once if it is the next one."""
        async with self._writer.lock:
            number = await self._box.append(message)
            self._logged += len(message)
            if number == self._box.sent + 1:
                self._box.sent = number
                await self._writer.send(sse.frame(message, f"{self._id}:{number}"))

    async def _look_after(self, group: anyio.abc.TaskGroup | None) -> None:
        """Cancel what was cancelled; keep the leases of what runs here; take up what a lost instance left."""
        for reply, letter in list(self._calls.values()):
            if await was_cancelled(self._core, self._key, letter.message["id"], letter.began):
                reply.cancel("cancelled")
        lease_s = self._core.platform.settings.lease_s
        if time.monotonic() - self._beat_at < lease_s / 3:
            return
        self._beat_at = time.monotonic()
        logged, self._logged = self._logged, 0
        if logged:
            await self._core.quotas.logged(self._user.principal, logged)
        for name in await self._box.beat():
            if name in self._calls:
                self._calls[name][0].cancel("lost")
        if group is not None:
            for letter in await self._box.orphans():
                message = letter.message
                again = await self._core.kernel.catalogue.may_run_again(message["method"], message.get("params"))
                await self._receive(group, letter, run=again)

    async def _receive(self, group: anyio.abc.TaskGroup, letter: Letter, *, run: bool) -> None:
        message = letter.message
        method, params = message["method"], message.get("params")
        if "id" not in message:
            if self._session is not None:
                x = self._exchange(None, params, SilentReply(), letter)
                await self._core.kernel.notify(x, link_of(x, self._session), method, params)
        elif method == "initialize":
            await self._initialize(message)
            await self._box.end(letter)
        elif self._session is None:
            await self.emit(jsonrpc.error(message["id"], jsonrpc.INVALID_REQUEST, "Initialize first."))
            await self._box.end(letter)
        else:
            group.start_soon(self._serve, letter, run)

    def _exchange(
        self, request_id: Any, params: Mapping[str, Any] | None, reply: Any, letter: Letter | None = None
    ) -> Exchange:
        user = self._user
        if letter is not None and letter.scopes != user.scopes:  # posted with another credential, after a step-up
            user = replace(user, scopes=letter.scopes)
        return self._core.exchange(self.request, user, self._session, request_id, params, reply)

    async def _initialize(self, message: dict[str, Any]) -> None:
        params: dict[str, Any] = message.get("params") or {}
        reply = StreamReply(self._core, self, None)
        x = self._exchange(message["id"], params, reply)
        link = Link(x, LATEST_HANDSHAKE_VERSION, None, None, None)
        job = open_session(self._core, x, link, self._id, params)
        await calls.run(self._core, x, link, "initialize", params, reply, job)
        self._session = x.session or self._session

    async def answer(self, body: bytes, letter: Letter | None) -> None:
        """Put a response on the stream, unless another instance was faster to take its request up."""
        if letter is None or await self._box.holds(letter):
            await self.emit(body)

    async def _serve(self, letter: Letter, run: bool) -> None:
        """Run one request, or say that it was interrupted, and put its answer on the stream."""
        assert self._session is not None
        message = letter.message
        method, params, request_id = message["method"], message.get("params"), message["id"]
        reply = StreamReply(self._core, self, self._session, letter)
        x = self._exchange(request_id, params, reply, letter)
        link = link_of(x, self._session)
        job = self._core.kernel.request(x, link, method, params) if run else _interrupted(method)
        self._calls[letter.name] = (reply, letter)
        await calls.run(self._core, x, link, method, params, reply, job)
        del self._calls[letter.name]
        if not reply.untold:
            await self._box.end(letter)


async def _interrupted(method: str) -> bytes:
    raise MCPError(jsonrpc.INTERNAL_ERROR, INTERRUPTED, {"interrupted": True, "method": method})


class StreamReply(PlainReply):
    """The answer to one request on a shared stream: nothing here begins or ends a response."""

    def __init__(self, core: Core, stream: Stream, session: Session | None, letter: Letter | None = None) -> None:
        super().__init__(stream.request, core.platform)
        self._core = core
        self._session = session
        self._stream = stream
        self._letter = letter
        self.untold = False
        """Whether the response may not be in the outbox: then whoever takes the request up has to say something."""

    @property
    def can_ask(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] # read-only here
        """Whether the session is open."""
        return self._session is not None

    async def emit(self, message: bytes, *, progress: bool = False) -> None:
        """Send one message on the stream."""
        if self.running and (not progress or self._progress_is_due()):
            await self._stream.emit(message)

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """Ask on the stream and hold the call."""
        assert self._session is not None
        return await asking.ask(self._core, self._session, self.emit, method, params, timeout_s)

    async def suspend(self, asked: Asked, digest: str) -> dict[str, Any]:
        """Ask everything at once; the call is held where it runs."""
        del digest
        questions = [self.ask(r["method"], r.get("params"), None) for r in asked.requests.values()]
        return dict(zip(asked.requests, await asyncio.gather(*questions), strict=True))

    async def finish(self, status: int, body: bytes) -> None:
        """Send the final response."""
        del status
        self._settle()
        try:
            await self._stream.answer(body, self._letter)
        except StoreUnavailable as e:
            self.untold = True
            logger.warning("a response was not stored: %s", e)

    async def abandon(self) -> None:
        """A cancelled request has no response."""
        self._settle()

    def _waits(self) -> None:
        """The stream is open already: there is no quiet period."""
