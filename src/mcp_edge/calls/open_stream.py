"""An event stream held open for what may come: it notices the client's leaving, the drain, the end of its budget."""

from __future__ import annotations

import asyncio
from types import TracebackType

from mcp_edge.calls.core import Core
from mcp_edge.errors import TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol import sse
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.signing import mint
from mcp_edge.records.ceilings import update
from mcp_edge.records.quotas import HOLD_S, Hold
from mcp_edge.user import User


class Held:
    """`async with Held(core, request, user, writer) as line:` counts in the principal's quota while it is open.

    Raises:
        TooMany: the principal holds too many streams.
    """

    def __init__(self, core: Core, request: Request, user: User, writer: sse.Writer, name: str = "") -> None:
        """`name` is that of what is held, if its client can come back to it."""
        self._core = core
        self._name = name
        self._request = request
        self._user = user
        self._writer = writer
        self._hold: Hold | None = None
        self._started = self._checked = core.platform.clock()
        self._leaving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Held:
        most = self._core.platform.settings.max_streams
        self._hold = await self._core.quotas.hold("streams", self._user.principal, most, self._name)
        self._leaving = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.let_go()
        if self._hold is not None:
            await self._hold.release()

    def leave_place(self) -> None:
        """Leave the place to what goes on under the same name: it must not be free in between."""
        self._hold = None

    async def let_go(self) -> None:
        """Stop watching the connection; somebody else does from now on."""
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.wait({self._leaving})
            self._leaving = None

    async def goes_on(self) -> bool:
        """Keep the stream alive.

        False when the client has left, its credential is no longer valid or allows less, the process drains, the
        budget is used up, or this instance was asleep and its principal's other streams have taken every place.
        """
        platform = self._core.platform
        now = platform.clock()
        if self._writer.detached or self._leaving is None or self._leaving.done() or platform.drain.draining:
            return False
        if self._hold is not None:
            try:
                await self._hold.keep()
            except TooMany:
                return False
        if now - self._checked > platform.settings.recheck_s:
            self._checked = now
            if not await self._core.still_valid(self._request, self._user):
                return False
        await self._writer.keep_alive(platform.settings.keepalive_s)
        return now - self._started < platform.stream_budget_s

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._writer.detached = True


class Sole:
    """The one reader of a stream: the newest takes it, an older one sees that and closes.

    A client that comes back may be quicker than the instance that has yet to notice its leaving.
    """

    def __init__(self, platform: Platform, stream: str) -> None:
        """`stream` is the session whose own it is, or the call's."""
        self._store = platform.atomics
        self._ttl_s = platform.stream_budget_s + HOLD_S  # nobody holds one for longer
        self._nonce = mint().encode()
        self._key = f"listener/{stream}"

    async def take(self) -> None:
        """Become the reader, unless so many others do just now that one of them is newer."""
        await update(self._store, self._key, lambda _: self._nonce, ttl_s=self._ttl_s)

    async def is_mine(self) -> bool:
        """Whether nobody newer reads it."""
        entry = await self._store.get(self._key)
        return entry is not None and entry.value == self._nonce

    async def is_anothers(self) -> bool:
        """Whether somebody else reads it; False where it was never taken."""
        entry = await self._store.get(self._key)
        return entry is not None and entry.value != self._nonce
