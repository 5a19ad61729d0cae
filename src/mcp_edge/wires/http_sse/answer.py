"""The outlet of one call of an HTTP+SSE session: it shares the session's stream with all other calls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from mcp_edge.calls.outcome import Outcome
from mcp_edge.calls.outlets import Progress
from mcp_edge.errors import StoreUnavailable
from mcp_edge.records.mailbox import PostedMessage

logger = logging.getLogger(__name__)


class Stream(Protocol):
    """The session's stream, as its calls use it."""

    async def emit(self, message: bytes) -> None:
        """Put one message on the stream."""
        ...

    async def answer(self, request_id: int | str, body: bytes, posted: PostedMessage | None) -> None:
        """Put a response on the stream, unless another instance was faster to take its request up."""
        ...


class SharedStream:
    """Nothing here begins or ends a response."""

    is_stream = detached = can_send_away = False
    _closed = False

    def __init__(
        self,
        stream: Stream,
        clock: Callable[[], float],
        request_id: int | str,
        posted: PostedMessage | None = None,
        *,
        can_ask: bool,
    ) -> None:
        """`posted` is what brought the request, where it can be taken up elsewhere; `can_ask`: the session is open."""
        self.can_ask = can_ask
        self._stream = stream
        self._request_id = request_id
        self._posted = posted
        self._progress = Progress(clock)
        self.is_unanswered = False
        """Whether the response may not be in the outbox: then whoever takes the request up has to say something."""

    async def open(self) -> None:
        """The stream is open."""

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Send one message; progress that comes too fast is dropped."""
        if not self._closed and not (progress and self._progress.holds_back(message)):
            await self._stream.emit(message)

    async def flush(self) -> None:
        """The stream is kept alive by whoever holds it."""

    def detach(self) -> None:
        """The stream notices by itself."""

    async def send_away(self) -> None:
        """The stream is not the call's to close."""

    async def close(self, outcome: Outcome) -> bool:
        """Send the response. A request that was stopped has none."""
        self._closed = True
        if outcome.body is not None:
            try:
                await self._stream.answer(self._request_id, outcome.body, self._posted)
            except StoreUnavailable as e:
                self.is_unanswered = True
                logger.warning("a response was not stored: %s", e)
        return False
