"""The one stream of an HTTP+SSE session, as the instance that holds it works on it: inbox, calls, outbox.

It knows nothing of the GET that it is held for but where to write.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import anyio.abc
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from mcp_edge.calls import call
from mcp_edge.calls.core import Core
from mcp_edge.calls.logged import NOT_KEPT
from mcp_edge.calls.open_stream import Sole
from mcp_edge.calls.reply import SilentReply
from mcp_edge.errors import StoreUnavailable
from mcp_edge.protocol import jsonrpc, sse
from mcp_edge.protocol.request import Request
from mcp_edge.records.cancellations import was_cancelled
from mcp_edge.records.changes import Cursor
from mcp_edge.records.http_sse_streams import Doors
from mcp_edge.records.mailbox import Letter, Mailbox
from mcp_edge.records.meter import SMALL, Meter
from mcp_edge.records.quotas import HOLD_S
from mcp_edge.records.sessions import Session
from mcp_edge.sdk.connection import Link
from mcp_edge.sdk.dispatch import Exchange
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User
from mcp_edge.wires.http_sse.answer import StreamReply
from mcp_edge.wires.session_requests import link_of, open_session
from mcp_edge.wires.streaming import messages_of

logger = logging.getLogger(__name__)

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
        self.sole = Sole(core.platform, self._key)
        self._session: Session | None = None
        self._cursor = Cursor()
        self._calls: dict[str, tuple[StreamReply, Letter]] = {}
        self._running = 0
        """Calls that have been begun here; each is held on the stream as it would be on one of its own."""
        self._doors = Doors(core.platform)
        self._kept_at = core.platform.clock()
        self._looks = 0
        self._beat_at = 0.0
        self._meter = Meter(core.platform, user.principal)

    async def open(self, *, resumes: bool) -> None:
        """Tell the client where to post. The one secret in a URL: good for posting only, bound to the user's app.

        Raises:
            TooMany: the user has stored too much in this hour to open another stream.
        """
        await (self._doors.keep if resumes else self._doors.open)(self._key, self._user)
        await self.sole.take()
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
        if (now := self._core.platform.clock()) - self._kept_at > HOLD_S / 3:
            self._kept_at = now
            await self._doors.keep(self._key, self._user)
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
            if await self.sole.is_mine():
                await self._doors.leave(self._key, self._user)

    async def finish_calls(self) -> None:
        """Let the calls under way end; their answers wait in the outbox for the client's return."""
        while self._calls and not self._core.platform.drain.expired:
            with contextlib.suppress(StoreUnavailable):
                await self._look_after(None)
                if not self._writer.detached:
                    await self.send_news()
            await anyio.sleep(self._core.platform.cadence.inbox)
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
        """Cancel what was cancelled; count what runs here and keep its leases; take up what a lost instance left."""
        for reply, letter in list(self._calls.values()):
            if await was_cancelled(self._core.platform, self._key, letter.message["id"], letter.began):
                reply.cancel("cancelled")
            await reply.keep_place()
        lease_s = self._core.platform.settings.lease_s
        if time.monotonic() - self._beat_at < lease_s / 3:
            return
        self._beat_at = time.monotonic()
        await self._meter.settle()
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
            body = jsonrpc.error(message["id"], jsonrpc.INVALID_REQUEST, "Initialize first.")
            await self.respond(message["id"], body)
            await self._box.end(letter)
        elif run and self._running >= (most := self._core.platform.settings.max_streams):
            words = f"Too many calls at once (at most {most})."
            await self.respond(message["id"], jsonrpc.error(message["id"], jsonrpc.INVALID_REQUEST, words))
            await self._box.end(letter)
        else:
            self._running += 1
            group.start_soon(self._serve, letter, run)

    def _exchange(
        self, request_id: Any, params: Mapping[str, Any] | None, reply: Any, letter: Letter | None = None
    ) -> Exchange:
        user = self._user
        if letter is not None:
            app = user.client if letter.app is None else letter.app
            if (letter.scopes, app) != (user.scopes, user.client):  # posted with another credential, after a step-up
                user = replace(user, scopes=letter.scopes, client=app)
        return self._core.exchange(self.request, user, self._session, request_id, params, reply)

    async def _initialize(self, message: dict[str, Any]) -> None:
        params: dict[str, Any] = message.get("params") or {}
        reply = StreamReply(self._core, self, None, message["id"])
        x = self._exchange(message["id"], params, reply)
        link = Link(x, LATEST_HANDSHAKE_VERSION, None, None, None)
        job = open_session(self._core, x, link, self._id, params)
        await call.run(self._core, x, link, "initialize", params, reply, job)
        self._session = x.session or self._session

    async def answer(self, request_id: int | str, body: bytes, letter: Letter | None) -> None:
        """Put a response on the stream, unless another instance was faster to take its request up."""
        if letter is None or await self._box.holds(letter):
            await self.respond(request_id, body)

    async def _serve(self, letter: Letter, run: bool) -> None:
        """Run one request, or say that it was interrupted, and put its answer on the stream."""
        assert self._session is not None
        message = letter.message
        method, params, request_id = message["method"], message.get("params"), message["id"]
        reply = StreamReply(self._core, self, self._session, request_id, letter)
        x = self._exchange(request_id, params, reply, letter)
        link = link_of(x, self._session)
        job = self._core.kernel.request(x, link, method, params) if run else call.interrupted(method)
        self._calls[letter.name] = (reply, letter)
        await call.run(self._core, x, link, method, params, reply, job)
        del self._calls[letter.name]
        self._running -= 1
        if not reply.untold:
            await self._box.end(letter)
