"""One serving process: uvicorn with a graceful drain, and the periodic sweep of the store.

It knows no route but those that tell how the process is.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import resource
import signal
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import anyio
import anyio.lowlevel
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_edge.app import HEALTH
from mcp_edge.errors import StoreUnavailable
from mcp_edge.hosts.cli.connections import FAREWELLS, LinkedAccounts
from mcp_edge.hosts.cli.drain import HURRY, grace_s
from mcp_edge.hosts.cli.http_protocol import EdgeProtocol
from mcp_edge.platform import Platform, ProcessDrain
from mcp_edge.protocol.client_address import address_header

log = logging.getLogger(__name__)

SWEEP_S = 300
"""Mean time between two sweeps; jitter keeps the processes of one store apart."""
SWEEP_LIMIT = 1000
KEEP_ALIVE_S = 75
"""Longer than the idle time of common proxies, so that they close first and never reuse a dying connection."""
HEAD_S = 15.0
"""How long the head of a request may take to arrive, at least; at most it is twice that."""
SILENT_S = 1.0
"""How long a connection that was accepted last may take to begin its first request."""
TURNS_OF_ACCEPT = 3
"""Turns of asyncio's loop from the accepted socket to `connection_made`: a task, the transport, the call."""
RESERVED = 128
"""Descriptors for everything but connections."""
_HANDLED = (signal.SIGTERM, signal.SIGINT, HURRY)


class EdgeServer(uvicorn.Server):
    """A uvicorn server that drains in three steps.

    1. Draining: readiness fails and every response says `Connection: close`, while it still listens for `drain_s`
       seconds. SIGINT, HURRY and a second signal of any kind skip this.
    2. Not listening: what is in flight finishes, within `grace_s`.
    3. Expired: near the end of the grace, calls that wait for an answer get their error; then all are cancelled.
    """

    def __init__(self, app: ASGIApp, platform: Platform, drain: ProcessDrain, *, worker_of: int | None = None) -> None:
        """`drain` is the platform's. `worker_of` is a descriptor that reads end of file when the supervisor is gone."""
        self._app = app
        self._platform = platform
        self._drain = drain
        self._worker_of = worker_of
        self._hurried = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._drain_s = platform.settings.drain_s
        self._connections = LinkedAccounts(platform.settings.max_connections)
        self._address_header = address_header(platform.settings)
        config = uvicorn.Config(
            self._call,
            interface="asgi3",
            http=cast("type[EdgeProtocol]", self._connection),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=grace_s(self._drain_s),  # pyright: ignore[reportArgumentType]  # any seconds do
        )
        super().__init__(config)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle the signals while serving. Unlike uvicorn's own, a stop that was asked for ends with exit code 0."""
        handled = [s for s in _HANDLED if self._worker_of is None or s != signal.SIGINT]
        before = {s: signal.signal(s, self.handle_exit) for s in handled}
        if self._worker_of is not None:
            # The terminal's Ctrl-C reaches the whole group; the supervisor passes it on in its own way.
            before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the supervisor started it with them blocked
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain. Second: hurry. Third: leave at once."""
        if self.should_exit and self._hurried:
            self._drain.expired = True
            self.force_exit = True
        self._hurried = self._hurried or self.should_exit or sig != signal.SIGTERM
        self.should_exit = True
        self._drain.draining = True
        self._say_close()

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's tick, ten times a second; its default headers stay one list, which responses in flight share."""
        leave = await super().on_tick(counter)
        if self.server_state.default_headers is not self._headers:
            self._headers[:] = self.server_state.default_headers
            self.server_state.default_headers = self._headers
            self._say_close()
        return leave

    async def main_loop(self) -> None:
        """Serve until a signal comes, then go on listening while balancers learn of it."""
        gc.collect()
        _allow_descriptors(self._platform.settings.max_connections + FAREWELLS + RESERVED)
        gc.freeze()  # what was imported lives as long as the process: the collector need not look at it again
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sweep)
            tasks.start_soon(self._close_silent)
            tasks.start_soon(self._end_stalled)
            if self._worker_of is not None:
                tasks.start_soon(self._leave_with_supervisor, self._worker_of)
            await super().main_loop()
            until = time.monotonic() + self._drain_s
            counter = 1
            while not self._hurried and time.monotonic() < until:
                await anyio.sleep(0.05)
                counter += 1
                await self.on_tick(counter)
            tasks.cancel_scope.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for what is in flight, tell it when the time is nearly over."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._expire)
            await self._stop_listening(sockets or [])
            await super().shutdown(sockets)
            tasks.cancel_scope.cancel()

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Close the listeners, but serve whoever got through: the kernel resets what a closed listener had queued, and
        uvicorn closes a connection whose first request has not arrived."""
        queued = [connection for sock in sockets for connection in _queued(sock)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in queued:
            await loop.connect_accepted_socket(self._protocol, connection)
        for _ in range(TURNS_OF_ACCEPT):  # what the loop itself accepted last is no connection yet
            await anyio.lowlevel.checkpoint()
        closed = time.monotonic()
        grace = grace_s(self._drain_s)
        while not self.force_exit and self._arriving(time.monotonic() - closed, grace / 2):  # noqa: ASYNC110
            await anyio.sleep(0.01)  # uvicorn announces no request
        self.config.timeout_graceful_shutdown = grace - (time.monotonic() - closed)  # pyright: ignore[reportAttributeAccessIssue]

    def _arriving(self, since_s: float, most_s: float) -> bool:
        """Whether a first request may still come, or any has begun to. `since_s` ago the listener was closed."""
        connections = cast("set[EdgeProtocol]", self.server_state.connections)
        if since_s < SILENT_S and any(connection.cycle is None for connection in connections):  # pyright: ignore[reportUnnecessaryComparison] # None before the first
            return True
        return since_s < most_s and any(connection.arriving for connection in connections)

    def _protocol(self) -> asyncio.BaseProtocol:
        return self._connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _connection(self, **parts: Any) -> EdgeProtocol:
        """Made by uvicorn as if it were a class."""
        return EdgeProtocol(self._connections, address_header=self._address_header, always=HEALTH, **parts)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:  # uvicorn's, at the end of the grace: no bug, so no traceback
            if not self._drain.expired:
                raise
            log.warning("a call was cut off: it did not end within the drain")

    def _say_close(self) -> None:
        if self._drain.draining and (b"connection", b"close") not in self._headers:
            self._headers.append((b"connection", b"close"))

    async def _expire(self) -> None:
        grace = grace_s(self._drain_s)
        await anyio.sleep(grace - min(2.0, grace / 2))
        self._drain.expired = True

    async def _leave_with_supervisor(self, descriptor: int) -> None:
        await anyio.wait_readable(descriptor)  # nothing is ever written: readable means that the other end is gone
        self.handle_exit(HURRY, None)

    async def _close_silent(self) -> None:
        """Close connections that send nothing, or the head of a request bit by bit: uvicorn waits for it for ever."""
        connections: set[Any] = self.server_state.connections
        before: dict[Any, Any] = {}
        while True:
            await anyio.sleep(HEAD_S)
            silent = {connection: connection.cycle for connection in connections if _silent(connection)}
            for connection, cycle in silent.items():
                if connection in before and before[connection] is cycle:  # nothing was served in between
                    connection.transport.close()
            before = silent

    async def _end_stalled(self) -> None:
        """Close connections whose clients do not read: neither uvicorn nor asyncio has a limit for that."""
        after_s = self._platform.settings.stall_s
        connections = cast("set[EdgeProtocol]", self.server_state.connections)
        while True:
            await anyio.sleep(after_s / 4)
            self._connections.end_stalled(connections, now=time.monotonic(), after_s=after_s)

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP_S * random.uniform(0.8, 1.2))  # noqa: S311  # jitter, not a secret
            try:
                for store in (self._platform.records, self._platform.atomics):
                    while await store.sweep(limit=SWEEP_LIMIT) >= SWEEP_LIMIT:
                        pass
            except StoreUnavailable as e:
                log.warning("expired records were not removed: %s", e)


def _allow_descriptors(count: int) -> None:
    """Raise the limit of open files to `count`, as far as the system allows: often it is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _silent(connection: Any) -> bool:
    """Whether neither a request is under way nor uvicorn's own timer, which runs between two of them."""
    under_way = connection.cycle is not None and not connection.cycle.response_complete
    return not under_way and connection.timeout_keep_alive_task is None


def _queued(listener: socket.socket) -> Generator[socket.socket, None, None]:
    """The connections that wait to be accepted."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # BlockingIOError: there are no more
            return
        connection.setblocking(False)
        yield connection
