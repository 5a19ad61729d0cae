"""Revision 2024-11-05: GET /sse holds the one stream, POST /messages stores and answers 202.

A message may reach any instance; it is put into the session's inbox, and the instance that holds the stream runs it.
So a client that sends one POST at a time is never kept waiting by its own question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import anyio
import anyio.abc
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from mcp_edge import asking, calls, guards, jsonrpc, sse
from mcp_edge.cadence import Pauses
from mcp_edge.changes import Cursor
from mcp_edge.context import User
from mcp_edge.core import Core
from mcp_edge.errors import BadRequest, MethodNotAllowed, NotFound, TooMany
from mcp_edge.exchange import Exchange
from mcp_edge.held import Held
from mcp_edge.kernel import Asked
from mcp_edge.link import Link
from mcp_edge.reply import PlainReply, SilentReply
from mcp_edge.request import Request
from mcp_edge.sessions import Session
from mcp_edge.tokens import mint, short_hash
from mcp_edge.wires.handshake import link_of, open_session
from mcp_edge.wires.streaming import messages_of

_INBOX_S = 300
_INBOX_MOST = 64
_LOOK_S = 0.05


async def post(core: Core, request: Request, user: User) -> None:
    """Take one message for the stream that `session_id` names."""
    request.only("POST")
    guards.check_json(request)
    key = await _door(core, request, user)
    message = jsonrpc.parse(await request.body(core.platform.settings.max_body_bytes))
    if jsonrpc.kind(message) == "response":
        if not await core.questions.answer(key, message["id"], message):
            raise BadRequest("This session was never asked that: the response's id is unknown.")
    else:
        inbox = f"inbox/{key}/"
        if len(await core.platform.atomics.read(inbox, limit=_INBOX_MOST)) >= _INBOX_MOST:
            raise TooMany("Too many messages wait for this stream.", headers={"retry-after": "1"})
        name = f"{inbox}{int(core.platform.clock() * 1e6):018d}-{mint()[:8]}"
        await core.platform.atomics.create(name, jsonrpc.encode(message), nonce=mint(), ttl_s=_INBOX_S)
    await request.answer(202, b"Accepted", kind=b"text/plain")


async def _door(core: Core, request: Request, user: User) -> str:
    """The key of the session that the query names.

    Raises:
        BadRequest, NotFound
    """
    given = parse_qs(request.query.decode("latin-1")).get("session_id", [])
    if len(given) != 1:
        raise BadRequest("session_id is missing: open /sse first.", code=-32000)
    key = core.sessions.key_of(given[0])
    holder = None if key is None else await core.platform.records.get(f"door/{key}")
    if key is None or holder is None or holder.decode() != user.principal:
        raise NotFound("Session not found: open /sse again.", code=-32001)
    return key


async def open_stream(core: Core, request: Request, user: User) -> None:
    """Hold the stream of a new session."""
    request.only("GET")
    guards.check_get(request)
    if not core.platform.streaming:
        raise MethodNotAllowed("This host holds no streams: use /mcp.", headers={"allow": ""})
    writer = sse.Writer(request)
    async with Held(core, request, user.principal, writer) as line:
        stream = Stream(core, request, user, writer)
        await stream.open()
        try:
            async with anyio.create_task_group() as group:
                async for _ in (looking := Pauses(core.platform, _LOOK_S)):
                    if await stream.take(group):
                        looking.soon()
                    if not await line.goes_on():
                        break
                if core.platform.drain.draining:
                    await stream.finish_calls()
                group.cancel_scope.cancel()
        finally:
            await stream.close()
        await writer.end(sse.retry())


class Stream:
    """One held /sse stream: its session, its inbox, its calls."""

    def __init__(self, core: Core, request: Request, user: User, writer: sse.Writer) -> None:
        self._core = core
        self.request = request
        self._user = user
        self._writer = writer
        self._id = core.sessions.mint()
        self._key = short_hash(self._id)
        self._session: Session | None = None
        self._cursor = Cursor()
        self._calls: dict[bytes, list[anyio.CancelScope]] = {}
        self._running = 0

    async def open(self) -> None:
        """Tell the client where to post. The one secret in a URL: good for posting only, bound to the user."""
        platform = self._core.platform
        ttl_s = platform.settings.session_ttl_s
        await platform.records.put(f"door/{self._key}", self._user.principal.encode(), ttl_s=ttl_s)
        self._cursor = await self._core.changes.now(self._user.principal)
        await self._writer.start()
        path = self.request.scope.get("root_path", "") + "/messages?session_id=" + self._id
        await self._writer.send(b"event: endpoint\ndata: " + path.encode() + b"\n\n")

    async def close(self) -> None:
        """The session ends with its stream: this revision cannot resume."""
        with anyio.CancelScope(shield=True):
            await self._core.platform.records.delete(f"door/{self._key}")
            if self._session is not None:
                await self._core.sessions.end(self._session)

    async def finish_calls(self) -> None:
        """Let the calls under way end; their answers have nowhere else to go."""
        drain = self._core.platform.drain
        while self._running and not drain.expired and not self._writer.detached:  # noqa: ASYNC110 # no one event says it
            await anyio.sleep(0.05)

    async def take(self, group: anyio.abc.TaskGroup) -> bool:
        """Take what has arrived: messages and changes. False when nothing had."""
        store = self._core.platform.atomics
        entries = await store.read(f"inbox/{self._key}/")
        for entry in entries:
            await store.delete(entry.key)
            await self._receive(group, jsonrpc.parse(entry.value))
        if self._session is not None:
            for change, cursor in await self._core.changes.since(self._user.principal, self._cursor):
                self._cursor = cursor
                for message in await messages_of(self._core, self._session, change):
                    await self.emit(message)
        return bool(entries)

    async def emit(self, message: bytes, *, progress: bool = False) -> None:
        """Send one message on the stream."""
        del progress
        async with self._writer.lock:
            await self._writer.send(sse.frame(message))

    async def _receive(self, group: anyio.abc.TaskGroup, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params")
        if "id" not in message:
            await self._notified(method, params)
        elif method == "initialize":
            await self._serve(message)
        elif self._session is None:
            await self.emit(jsonrpc.error(message["id"], jsonrpc.INVALID_REQUEST, "Initialize first."))
        else:
            group.start_soon(self._serve, message)

    async def _notified(self, method: str, params: dict[str, Any] | None) -> None:
        if method == "notifications/cancelled":
            for scope in self._calls.get(jsonrpc.encode(jsonrpc.member(params, "requestId")), []):
                scope.cancel()
        elif self._session is not None:
            x = self._exchange(None, params, SilentReply())
            await self._core.kernel.notify(x, link_of(x, self._session), method, params)

    def _exchange(self, request_id: Any, params: Mapping[str, Any] | None, reply: Any) -> Exchange:
        return self._core.exchange(self.request, self._user, self._session, request_id, params, reply)

    async def _serve(self, message: dict[str, Any]) -> None:
        """Run one request and send its answer on the stream."""
        method, params, request_id = message["method"], message.get("params"), message["id"]
        reply = StreamReply(self._core, self, self._session)
        x = self._exchange(request_id, params, reply)
        if self._session is None:
            link = Link(x, LATEST_HANDSHAKE_VERSION, None, None, None)
            await calls.run(self._core, x, link, method, params, reply, self._initialize(x, link, params or {}))
            return
        link = link_of(x, self._session)
        scopes = self._calls.setdefault(jsonrpc.encode(request_id), [])
        self._running += 1
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await calls.run(
                self._core, x, link, method, params, reply, calls.call(self._core, x, link, method, params, reply)
            )
        self._running -= 1
        scopes.remove(scope)
        if not scopes:
            self._calls.pop(jsonrpc.encode(request_id), None)

    async def _initialize(self, x: Exchange, link: Link, params: dict[str, Any]) -> bytes:
        result = await open_session(self._core, x, link, self._id, params)
        self._session = x.session
        return result


class StreamReply(PlainReply):
    """The answer to one request on a shared stream: nothing here begins or ends a response."""

    def __init__(self, core: Core, stream: Stream, session: Session | None) -> None:
        super().__init__(stream.request, core.platform)
        self._core = core
        self._session = session
        self._stream = stream

    @property
    def can_ask(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] # read-only here
        """Whether the session is open."""
        return self._session is not None

    async def emit(self, message: bytes, *, progress: bool = False) -> None:
        """Send one message on the stream."""
        if self.running:
            await self._stream.emit(message)

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """Ask on the stream and hold the call."""
        assert self._session is not None
        return await asking.ask(self._core, self._session, self.emit, method, params, timeout_s)

    async def suspend(self, asked: Asked, digest: str) -> dict[str, Any]:
        """Ask everything at once; the stream cannot be resumed, so there is nothing to store but the answers."""
        del digest
        questions = [self.ask(r["method"], r.get("params"), None) for r in asked.requests.values()]
        return dict(zip(asked.requests, await asyncio.gather(*questions), strict=True))

    async def finish(self, status: int, body: bytes) -> None:
        """Send the final response."""
        del status
        self._settle()
        await self._stream.emit(body)

    async def abandon(self) -> None:
        """A cancelled request has no response."""
        self._settle()

    def _waits(self) -> None:
        """The stream is open already: there is no quiet period."""
