"""An event stream held open for what may come: it notices the client's leaving, the drain, the end of its budget."""

from __future__ import annotations

import asyncio
from types import TracebackType

from mcp_edge.calls.core import Core
from mcp_edge.calls.duties import Credential, Drain, Duties, Duty, Flush, Reader, Slot
from mcp_edge.errors import TooMany
from mcp_edge.protocol import sse
from mcp_edge.protocol.request import Request
from mcp_edge.user import User


class OpenStream:
    """`async with OpenStream(core, request, user, writer) as stream:` counts in the principal's quota while it is open.

    Raises:
        TooMany: the principal holds too many streams.
    """

    def __init__(
        self, core: Core, request: Request, user: User, writer: sse.Writer, name: str = "", *others: Duty
    ) -> None:
        """`name` identifies a resumable stream, so that a client that comes back uses its slot again; `others` are
        duties of this stream besides those of every one."""
        settings = core.platform.settings
        self._request = request
        self._writer = writer
        self._slot = Slot(core.platform, "streams", user, lambda: name)
        self._leaving: asyncio.Task[None] | None = None
        self._duties = Duties(
            self._slot,
            Reader(self._is_gone),
            Drain(core.platform),
            Credential(core, request, user, at_once=False),
            Flush(lambda: writer.keep_alive(settings.keepalive_s)),
            *others,
        )

    async def __aenter__(self) -> OpenStream:
        await self._slot.take()
        self._leaving = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.let_go()
        await self._slot.release()

    def leave_slot(self) -> None:
        """Leave the slot to what goes on under the same name: it must not be free in between."""
        self._slot.leave()

    async def let_go(self) -> None:
        """Stop watching the connection; somebody else does from now on."""
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.wait({self._leaving})
            self._leaving = None

    async def goes_on(self) -> bool:
        """Keep the stream alive. False when it must end: a duty says so, or this instance was asleep and its
        principal's other streams have taken every slot."""
        try:
            return await self._duties.look() is None
        except TooMany:
            return False

    def _is_gone(self) -> bool:
        return self._writer.detached or self._leaving is None or self._leaving.done()

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._writer.detached = True
