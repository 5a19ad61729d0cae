"""The one stream of an HTTP+SSE session, as the instance that holds it works on it: inbox, calls, outbox.

It knows nothing of the GET that it is held for but where to write.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import anyio
import anyio.abc

from mcp_edge.calls.call import Call
from mcp_edge.calls.core import Core
from mcp_edge.calls.duties import Cancellation, Duties, Every, Slot
from mcp_edge.calls.failures import Interrupted
from mcp_edge.calls.logged_stream import NOT_KEPT
from mcp_edge.calls.outcome import Stop
from mcp_edge.errors import StoreUnavailable
from mcp_edge.protocol import jsonrpc, sse
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import HANDSHAKE_VERSIONS, LATEST_HANDSHAKE
from mcp_edge.records.changes import Cursor
from mcp_edge.records.http_sse_streams import HttpSseStreams
from mcp_edge.records.listener import ListenerLease
from mcp_edge.records.mailbox import Mailbox, PostedMessage
from mcp_edge.records.meter import SMALL, Meter
from mcp_edge.records.quotas import SLOT_S
from mcp_edge.records.sessions import Session
from mcp_edge.sdk.connection import RequestConnection
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User
from mcp_edge.wires.http_sse.answer import SharedStream
from mcp_edge.wires.listening import messages_of
from mcp_edge.wires.session_requests import connection_of, open_session

_SELDOM = 4
"""Only the inbox is looked into every time; all else every so many times, since each look costs a read of the store."""
_ALL: dict[str, Any] = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}


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
        self._listener = ListenerLease(core.platform, self._key)
        self._session: Session | None = None
        self._cursor = Cursor()
        self._calls: dict[str, Call] = {}
        self._running = 0
        """Calls that have been begun here; each is held on the stream as it would be on one of its own."""
        self._streams = HttpSseStreams(core.platform)
        self._looks = 0
        self._keeping = Every(core.platform, SLOT_S / 3, at_once=False)
        self._beating = Every(core.platform, core.platform.settings.lease_s / 3)
        self._meter = Meter(core.platform, user.principal)

    async def open(self, *, resumes: bool) -> None:
        """Tell the client where to post. The one secret in a URL: good for posting only, bound to the user's app.

        Raises:
            TooMany: the user has stored too much in this hour to open another stream.
        """
        await (self._streams.keep if resumes else self._streams.open)(self._key, self._user)
        await self._listener.take()
        self._session = await self._core.sessions.find(self._id, self._user) or await self._of_returning_client()
        self._cursor = await self._core.changes.now(self._user.principal)
        await self._writer.start()
        path = self.request.scope.get("root_path", "") + "/messages?session_id="
        path += self._core.sessions.posting_id(self._key)
        hello = f"retry: {sse.RETRY_MS}\nevent: endpoint\nid: {self._id}:{self._box.sent}\ndata: {path}\n\n"
        await self._writer.send(hello.encode())
        if resumes:
            await self.send_news()  # what is said from now on comes after all that was

    async def _of_returning_client(self) -> Session | None:
        """A session for a client that lost its stream and comes back without saying which one it was.

        The TypeScript clients drop the `Last-Event-ID` of their EventSource, and post to the new endpoint without
        `initialize`. The first GET precedes the negotiation, so only one that comes back names a version. What this
        client can be asked was said on the lost session; everything is tried.
        """
        version = self.request.raw.get(b"mcp-protocol-version", b"").decode("latin-1")
        if version not in HANDSHAKE_VERSIONS:
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
        async for posted in self._box.take():
            received = True
            await self._receive(group, posted, run=True)
        self._looks += 1
        if self._looks % _SELDOM and not received:
            return False
        if not await self._listener.is_mine():
            raise Overtaken
        if self._keeping.is_due():
            await self._streams.keep(self._key, self._user)
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

    async def leave(self) -> None:
        """Say that nobody holds the stream, unless somebody else does by now."""
        with contextlib.suppress(StoreUnavailable):
            if await self._listener.is_mine():
                await self._streams.leave(self._key, self._user)

    async def finish_calls(self) -> None:
        """Let the calls under way end; their answers wait in the outbox for the client's return."""
        while self._calls and not self._core.platform.drain.expired:
            with contextlib.suppress(StoreUnavailable):
                await self._look_after(None)
                if not self._writer.detached:
                    await self.send_news()
            await anyio.sleep(self._core.platform.poll_intervals.inbox_s)
        await self._meter.settle()

    async def emit(self, message: bytes) -> None:
        """Put one message on the stream, and send it at once if it is the next one.

        Where its user has stored too much in this hour, it reaches a client that is there, but none that comes back.
        """
        async with self._writer.lock:
            if await self._meter.allows(len(message)):
                await self._put(message, message)
            else:
                await self._writer.send(sse.frame(message))

    async def respond(self, request_id: int | str, body: bytes) -> None:
        """Put a response on the stream. One that is too long to be kept leaves word of that to a client that comes
        back."""
        async with self._writer.lock:
            kept = body
            if not await self._meter.allows(len(body), last=True) and len(body) > SMALL:
                kept = jsonrpc.error(request_id, jsonrpc.INVALID_REQUEST, NOT_KEPT)
            await self._put(body, kept)

    async def _put(self, message: bytes, kept: bytes) -> None:
        number = await self._box.append(kept)
        self._meter.stored(len(kept))
        if number == self._box.sent + 1:
            self._box.sent = number
            await self._writer.send(sse.frame(message, f"{self._id}:{number}"))

    async def _look_after(self, group: anyio.abc.TaskGroup | None) -> None:
        """Stop what was cancelled; count what runs here and keep its leases; take up what a lost instance left."""
        for call in list(self._calls.values()):
            await call.look_after()
        if not self._beating.is_due():
            return
        await self._meter.settle()
        for name in await self._box.beat():
            if name in self._calls:
                self._calls[name].stop(Stop.LOST)
        if group is not None:
            for posted in await self._box.orphans():
                message = posted.message
                again = await self._core.kernel.catalogue.may_run_again(message["method"], message.get("params"))
                await self._receive(group, posted, run=again)

    async def _receive(self, group: anyio.abc.TaskGroup, posted: PostedMessage, *, run: bool) -> None:
        message = posted.message
        method, params = message["method"], message.get("params")
        if "id" not in message:
            if self._session is not None:
                call = self._core.notification(self.request, self._user_of(posted), self._session, params)
                await self._core.kernel.notify(call, connection_of(call, self._session), method, params)
        elif method == "initialize":
            await self._initialize(message)
            await self._box.end(posted)
        elif self._session is None:
            body = jsonrpc.error(message["id"], jsonrpc.INVALID_REQUEST, "Initialize first.")
            await self.respond(message["id"], body)
            await self._box.end(posted)
        elif run and self._running >= (most := self._core.platform.settings.max_streams):
            words = f"Too many calls at once (at most {most})."
            await self.respond(message["id"], jsonrpc.error(message["id"], jsonrpc.INVALID_REQUEST, words))
            await self._box.end(posted)
        else:
            self._running += 1
            group.start_soon(self._serve, posted, run)

    def _user_of(self, posted: PostedMessage) -> User:
        """The stream's user, as the credential lets them act with which the posted was posted, after a step-up say."""
        user = self._user
        app = user.client if posted.app is None else posted.app
        if (posted.scopes, app) == (user.scopes, user.client):
            return user
        return replace(user, scopes=posted.scopes, client=app)

    async def _initialize(self, message: dict[str, Any]) -> None:
        params: dict[str, Any] = message.get("params") or {}

        async def opened(call: Call) -> bytes:
            return await open_session(self._core, call, self._id, params)

        outlet = SharedStream(self, self._core.platform.clock, message["id"], can_ask=False)
        call = Call(self._core, self.request, self._user, self._session, ("initialize", params, message["id"]), outlet)
        await call.run(RequestConnection(call, LATEST_HANDSHAKE.version, None, None, None), opened)
        self._session = call.session or self._session

    async def answer(self, request_id: int | str, body: bytes, posted: PostedMessage | None) -> None:
        """Put a response on the stream, unless another instance was faster to take its request up."""
        if posted is None or await self._box.renew_lease(posted):
            await self.respond(request_id, body)

    async def _serve(self, posted: PostedMessage, run: bool) -> None:
        """Run one request, or say that it was interrupted, and put its answer on the stream."""
        session, message, core = self._session, posted.message, self._core
        assert session is not None
        parts = message["method"], message.get("params"), message["id"]
        outlet = SharedStream(self, core.platform.clock, parts[2], posted, can_ask=True)
        user = self._user_of(posted)

        def duties(call: Call) -> Duties:
            return Duties(
                Slot(core.platform, "calls", user, lambda: posted.name),
                Cancellation(core.platform, self._key, parts[2], lambda: posted.began),
            )

        async def interrupted(call: Call) -> bytes:
            raise Interrupted(call.method)

        call = Call(core, self.request, user, session, parts, outlet, duties=duties, attended=False)
        self._calls[posted.name] = call
        await call.run(connection_of(call, session), None if run else interrupted)
        del self._calls[posted.name]
        self._running -= 1
        if not outlet.is_unanswered:
            await self._box.end(posted)
