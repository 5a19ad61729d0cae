"""uvicorn's HTTP protocol, with bounds on what strangers may make of a connection. It knows no route.

What it relies on inside uvicorn and asyncio is listed in tests/hosts/cli/test_uvicorn_internals.py.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from mcp_edge.hosts.cli.connections import LinkedAccounts
from mcp_edge.hosts.cli.http_framing import Connection
from mcp_edge.hosts.cli.http_transport import Transport
from mcp_edge.protocol import networks
from mcp_edge.protocol.client_address import client_address
from mcp_edge.protocol.request import CLAIM, PRINCIPAL, TAKEN

READ_BYTES = 64 * 1024
"""How much of one connection is read before the others have their turn; asyncio would take four times as much."""
FAREWELL_S = 2.0
"""How long a connection that has no place may take to ask how the process is, before it is told that there is none."""
CUT = "Too much is being sent to the server at once; try again."
FULL = "The server has as many connections as it may; try again."
_BUFFER = bytearray(READ_BYTES)
_VIEW = memoryview(_BUFFER)


class EdgeProtocol(H11Protocol, asyncio.BufferedProtocol):
    """One connection. What arrives is read into one buffer of all connections, and copied at once."""

    conn: Connection
    transport: Transport  # pyright: ignore[reportIncompatibleVariableOverride] # what uvicorn uses of it

    def __init__(
        self,
        connections: LinkedAccounts,
        *,
        address_header: bytes | None = None,
        always: frozenset[str] = frozenset(),
        **parts: Any,
    ) -> None:
        """`address_header` is the one in which a proxy states addresses; without one, clients connect themselves.

        Requests for the paths in `always` are served even where the connection has no place.
        """
        super().__init__(**parts)
        self.conn = Connection()
        self.networks: tuple[networks.Network, ...] = ()
        self._connections = connections
        self._uploads = connections.uploads
        self._kept = 0
        self._address_header = address_header
        self._always = always
        self._app = cast("ASGIApp", self.app)
        self._farewell: asyncio.TimerHandle | None = None
        # uvicorn copies it into each request's scope
        self.app_state = {**self.app_state, TAKEN: self._tell_taken, CLAIM: self._claim}

    @property
    def principal(self) -> str:
        """Whose request was the last one; empty where nobody asked."""
        return self.scope.get(PRINCIPAL, "") if self.scope else ""

    @property
    def busy(self) -> bool:
        """Whether there is a request, or an answer that the client has not taken."""
        return self._answering or bool(self.transport.waiting)

    @property
    def _answering(self) -> bool:
        if self.cycle is None or self.transport.closing:  # pyright: ignore[reportUnnecessaryComparison] # None before the first
            return False
        return not self.cycle.response_complete

    @property
    def arriving(self) -> bool:
        """Whether a part of a request's head is there."""
        return self.conn.begun and not self.transport.closing

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken."""
        return self.transport.waiting

    @property
    def taken(self) -> int:
        """Bytes that the client has taken so far."""
        return self.conn.sent - self.transport.untaken

    def _tell_taken(self) -> int:
        return self.taken

    def _claim(self, user: str) -> bool:
        if self._kept:
            self._keep()  # what has arrived of the request is the user's
        return self._connections.claim(self, user)

    @property
    def owners(self) -> tuple[str, ...]:
        """The user and the network of the request that arrives, as far as they are known."""
        network = self.networks[-1].name if self.networks else ""
        if self._address_header is not None and self.scope:
            network = networks.whose(client_address({"client": self.client}, self.headers, self._address_header))
        named = (("user", self.principal), ("network", network))
        return tuple(f"{kind} {name}" for kind, name in named if name)

    @property
    def unfinished(self) -> bool:
        """Whether the client has still to send of what it has begun."""
        return self.conn.unfinished

    def _keep(self) -> None:
        """Account for what is kept of what the client sends."""
        self._kept = 0 if self.transport.closing else self.conn.kept
        if self._kept:
            self._uploads.hold(self, self._kept)
        else:
            self._uploads.release(self)

    def cut(self) -> None:
        """Refuse what arrives: others have to be served."""
        self._kept = 0
        self._abandon()
        self._refuse(503, CUT, [(b"retry-after", b"5")])

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    # -- called by asyncio -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as uvicorn's
        """Take a place, if there is one."""
        wrapped = Transport(transport, lambda: self.conn.unread)
        super().connection_made(cast("asyncio.Transport", wrapped))
        if self._address_header is None:
            self.networks = networks.of_one(client_address({"client": self.client}, (), None))
        if not self._connections.admit(self):
            self.app = cast("Any", self._answer_without_place)
            self._farewell = self.loop.call_later(FAREWELL_S, self._tell_full)

    async def _answer_without_place(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer how the process is, which a balancer has to learn of a full one too; refuse everything else."""
        if scope["path"] not in self._always:
            self._tell_full()
            return

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, last)

    def _tell_full(self) -> None:
        asked = self.scope is not None and self.scope["path"] in self._always  # pyright: ignore[reportUnnecessaryComparison] # None before the first
        if not asked and not self.transport.closing:
            self._abandon()
            self._refuse(503, FULL, [(b"retry-after", b"5")])

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self.transport.lost()
        if self._farewell is not None:
            self._farewell.cancel()
        self._unset_keepalive_if_required()
        self._connections.lost(self)
        self._uploads.release(self)
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read into."""
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        if self.transport.closing:
            self.transport.drop(nbytes)
        else:
            self.data_received(bytes(_VIEW[:nbytes]))
            if self._kept or self.conn.kept:
                self._keep()

    def pause_writing(self) -> None:
        """The client does not keep up: it may not ask for more."""
        super().pause_writing()
        self.conn.held = True
        self._connections.slow(self)

    def resume_writing(self) -> None:
        """It has read most of what it asked for."""
        super().resume_writing()
        self.transport.drained()
        self.conn.held = False
        self._connections.caught_up(self)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.flow.resume_reading()
            self.handle_events()
            if self._kept:
                self._keep()

    # -- called by uvicorn -----------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """The answer is sent."""
        self._connections.answered(self)
        super().on_response_complete()
        if self._kept:
            self._keep()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the client has sent, with the status that fits."""
        self._abandon()
        status, message = self.conn.refusal or (400, msg)
        self._refuse(status, message)

    def _abandon(self) -> None:
        """Let the app of a request that has no answer yet know that nobody is there."""
        if self._answering:
            self.cycle.disconnected = True  # it sends nothing more
            self.cycle.message_event.set()

    def _refuse(self, status: int, message: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """Answer, unless an answer has begun, and close."""
        self.conn.refusal = status, message
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": message}).encode()
            fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            fields += [(b"connection", b"close"), *(headers or [])]
            start = h11.Response(status_code=status, headers=fields, reason=STATUS_PHRASES[status])
            for event in (start, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def shutdown(self) -> None:
        """The process is about to end: let go who has had the last answer."""
        if self.transport.is_closing():
            if not self.transport.waiting:
                self.transport.abort()
        else:
            super().shutdown()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a server may ignore an Upgrade (RFC 9110 §7.8), and Java asks for h2c with every request."""
