"""The answer to one request of an HTTP+SSE session: it shares the session's stream with all others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp_edge.calls import elicitation
from mcp_edge.calls.core import Core
from mcp_edge.calls.reply import PlainReply
from mcp_edge.errors import StoreUnavailable
from mcp_edge.records.mailbox import Letter
from mcp_edge.records.sessions import Session
from mcp_edge.sdk.results import Asked

if TYPE_CHECKING:
    from mcp_edge.wires.http_sse.stream import Stream

logger = logging.getLogger(__name__)


class StreamReply(PlainReply):
    """The answer to one request on a shared stream: nothing here begins or ends a response."""

    _kind = "calls"

    def __init__(
        self,
        core: Core,
        stream: Stream,
        session: Session | None,
        request_id: int | str,
        letter: Letter | None = None,
    ) -> None:
        super().__init__(stream.request, core.platform)
        self._request_id = request_id
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

    async def keep_place(self) -> None:
        """Count among the calls that the user has under way, from now on."""
        await self._keep_place()
        if not self.running:
            await self._join()  # it ended meanwhile

    async def emit(self, message: bytes, *, progress: bool = False) -> None:
        """Send one message on the stream."""
        if self.running and (not progress or self._progress_is_due()):
            await self._stream.emit(message)

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """Ask on the stream and hold the call."""
        assert self._session is not None
        return await elicitation.ask(self._core, self._session, self.emit, method, params, timeout_s)

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
            await self._stream.answer(self._request_id, body, self._letter)
        except StoreUnavailable as e:
            self.untold = True
            logger.warning("a response was not stored: %s", e)
        await self._join()

    async def abandon(self) -> None:
        """A cancelled request has no response."""
        self._settle()
        await self._join()

    @property
    def _name(self) -> str:
        return self._letter.name if self._letter is not None else ""

    def _waits(self) -> None:
        """The stream is open already: there is no quiet period."""
