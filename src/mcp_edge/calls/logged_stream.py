"""The outlet of a handshake request: JSON, or a stream that is logged, so that any instance can resume it.

Each message is stored before it is sent. The client may leave and come back; only an explicit cancellation cancels
(MCP 2025-11-25 transports). It knows no question.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from mcp_edge.calls.core import Core, Message
from mcp_edge.calls.outcome import Outcome, Stop
from mcp_edge.calls.outlets import Progress
from mcp_edge.errors import StoreUnavailable
from mcp_edge.protocol import jsonrpc, sse
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import REVISIONS
from mcp_edge.records.listener import ListenerLease
from mcp_edge.records.meter import SMALL, Meter
from mcp_edge.records.sessions import Session
from mcp_edge.records.stream_head import Head
from mcp_edge.records.stream_log import END, FINAL, MESSAGE, LeaseLost, LogWriter

logger = logging.getLogger(__name__)

NOT_KEPT = (
    "The call has ended, but its answer was too long to be kept for a client that comes back:"
    " this user's streams hold too many bytes in this hour."
)


class LoggedStream:
    """The outlet of one call, begun by a POST, or by whoever takes its stream over."""

    journal: LogWriter | None = None
    """The log, as this instance writes it; None before the stream begins, and where nothing can be logged."""
    listener: ListenerLease | None = None
    """Who reads the stream, where it was resumed."""
    _head: Head | None = None
    _meter: Meter | None = None
    _writer: sse.Writer | None = None
    _progress: Progress | None = None
    _closed = False

    def __init__(
        self,
        core: Core,
        request: Request,
        session: Session,
        message: Message,
        writer: sse.Writer | None = None,
    ) -> None:
        """`message` is the request; `writer` the stream of a reader who is there already."""
        self.request = request
        self.session = session
        self.began = core.platform.clock()
        """Epoch seconds: a cancellation counts from then on, whoever runs the call."""
        self.platform = core.platform
        self.can_send_away = core.platform.streaming
        """Whether the call can go on without a reader: a buffered host runs nothing after a response."""
        self._core = core
        self.message = message
        self._writer = writer

    @property
    def writer(self) -> sse.Writer:
        """The sending end of the stream, made when it is first needed."""
        if self._writer is None:
            self._writer = sse.Writer(self.request, self.platform.clock)
        return self._writer

    @property
    def is_stream(self) -> bool:
        """Whether the stream has begun."""
        return self._writer is not None and self._writer.started

    @property
    def detached(self) -> bool:
        """Whether nobody reads here any more."""
        return self._writer is not None and self._writer.detached

    def detach(self) -> None:
        """The client has closed the connection, and may come back: the call goes on, its log grows."""
        self.writer.detached = True

    @property
    def name(self) -> str:
        """The stream's id, under which the call counts wherever it goes on; empty while there is no stream."""
        return self.journal.stream if self.journal is not None else ""

    @property
    def can_ask(self) -> bool:
        """Whether a question can be held open: not where the response is only sent when the call has ended, nor where
        the answer may arrive at an instance that cannot pass it on."""
        return self.platform.streaming and self.platform.shared

    @property
    def head(self) -> Head:
        """What the store knows of the call; most calls are answered before anybody needs it."""
        if self._head is None:
            method, params, request_id = self.message
            session = self.session
            self._head = Head(
                session.key,
                session.principal,
                request_id,
                method,
                params,
                session.version,
                again=False,
                began=self.began,
            )
        return self._head

    def adopt(self, journal: LogWriter, listener: ListenerLease) -> None:
        """Go on with a stream that was taken over; its reader is attached already, and is `listener`."""
        self.journal, self._head, self.listener = journal, journal.head, listener
        self.began = journal.head.began or self.began

    async def open(self) -> None:
        """Begin the stream, unless the answer is known by now or the host cannot stream."""
        if self.platform.streaming:
            await self.start()

    async def start(self) -> None:
        """Begin the stream whatever the host can, unless the answer is known by now."""
        async with self.writer.lock:
            if not self._closed:
                await self.begin()

    async def put(self, message: bytes, *, progress: bool = False) -> None:
        """Log and send one message, and begin the stream with it if need be.

        Raises:
            LeaseLost: another instance runs the call now. Nothing was sent.
        """
        if self._progress is None:
            self._progress = Progress(self.platform.clock)
        if progress and self._progress.holds_back(message):
            return
        async with self.writer.lock:
            if self._closed:
                return
            if not progress:
                await self._send_held()
            await self._send(message)

    async def flush(self) -> None:
        """Send the progress message that has been held back, and a comment where nothing was sent for a while."""
        async with self.writer.lock:
            if not self._closed:
                await self._send_held()
        await self.writer.keep_alive(self.platform.settings.keepalive_s)

    async def close(self, outcome: Outcome) -> bool:
        """Answer with JSON, or end the stream with the response, or without one where there is none."""
        self._closed = True
        if self._writer is None and outcome.body is not None:
            await self.request.answer(outcome.http, outcome.body)
            return False
        is_ended = False
        async with self.writer.lock:  # the stream may be beginning just now
            if outcome.body is not None and not self.writer.started:
                await self.request.answer(outcome.http, outcome.body)
            elif outcome.body is not None:
                with suppress(LeaseLost):  # the last entry finds out, too
                    await self._send_held()
                is_ended = await self._end(FINAL, outcome.body)
            elif outcome.stop is Stop.LOST:
                await self._end_response(sse.retry())
            elif outcome.stop is not Stop.SUSPENDED:
                is_ended = await self._end(END, b"")
        if self.journal is not None:
            await self._counted(self.journal).settle()
        return is_ended

    async def begin(self) -> None:
        """Begin the log, and the stream. The writer's lock is held."""
        if self.writer.started:
            return
        head = self.head
        head.again = await self._core.kernel.catalogue.may_run_again(head.method, head.params)
        if self.journal is None:
            self.journal = await self._begin_log(head)
        await self.writer.start()
        if self.journal is not None and REVISIONS[self.session.version].primes_streams:
            await self.writer.send(sse.priming(self.journal.event_id(0)))

    async def _begin_log(self, head: Head) -> LogWriter | None:
        if not self.platform.shared:
            return None
        try:
            # A call that is suspended has been counted. Annexes are counted before they are stored, the rest later.
            if head.suspended or await self._core.quotas.may_log(head.principal, head.pack()):
                return await LogWriter.open(self.platform, head)
        except StoreUnavailable as e:
            if not self.platform.streaming:  # a buffered response has nothing but its log
                raise
            logger.warning("a stream is not logged, so it cannot be resumed: %s", e)  # the client is there to be told
        head.restore(head.without_annexes())
        return None

    async def _send(self, message: bytes) -> None:
        await self.begin()
        event_id = await self._append(MESSAGE, message)
        await self.writer.send(sse.frame(message, event_id))

    async def _send_held(self) -> None:
        held = self._progress.take() if self._progress is not None else None
        if held is not None:
            try:
                await self._send(held)
            except StoreUnavailable as e:  # neither the answer nor its stream fails for a progress message
                logger.warning("a progress message was dropped: %s", e)

    async def _end_response(self, data: bytes) -> None:
        await self.writer.start()
        await self.writer.end(data)

    async def _end(self, kind: bytes, data: bytes) -> bool:
        """Log and send the last entry. What the call has done is done: while the store is away, the client that is
        there is told all the same.

        Returns: whether the end is logged.
        """
        event_id = None
        try:
            event_id = await self._append(kind, data)
        except LeaseLost:
            await self._end_response(sse.retry())
            return False
        except StoreUnavailable as e:
            logger.warning("the end of a stream is not logged: %s", e)
        await self._end_response(sse.frame(data, event_id) if kind == FINAL else b"")
        return event_id is not None

    async def _append(self, kind: bytes, data: bytes) -> str | None:
        """Log an entry and return its event id. None where nothing is logged: whoever comes back does not get it.

        Raises:
            LeaseLost, StoreUnavailable
        """
        if self.journal is None:
            return None
        is_end = kind != MESSAGE
        meter = self._counted(self.journal)
        if not await meter.allows(len(data), last=is_end) and not (is_end and len(data) <= SMALL):
            if not is_end:
                return None
            data = jsonrpc.error(self.message[2], jsonrpc.INVALID_REQUEST, NOT_KEPT)
        return await self.journal.append(kind, data)

    def _counted(self, journal: LogWriter) -> Meter:
        """The meter, which knows of all that is stored."""
        self._meter = self._meter or Meter(self.platform, self.session.principal)
        self._meter.stored(journal.unpaid)
        journal.unpaid = 0
        return self._meter

    async def beat(self) -> None:
        """Renew the lease.

        Raises:
            LeaseLost, StoreUnavailable
        """
        async with self.writer.lock:
            if self.journal is not None and not self._closed:
                await self.journal.beat()

    async def release(self, journal: LogWriter) -> None:
        """Give the lease up: whoever reads the stream next may run the call. Nothing follows from here."""
        async with self.writer.lock:
            await journal.release()
            self._closed = True  # or the next heartbeat takes the lease back

    async def send_away(self) -> None:
        """Send `retry`, end the response, and go on: the client resumes with its last event id."""
        async with self.writer.lock:
            await self.begin()
            journal = self.journal
            if journal is not None and (REVISIONS[self.session.version].primes_streams or journal.bytes):
                await self.writer.end(sse.priming(journal.event_id()))

    async def has_newer_reader(self) -> bool:
        """Whether the client reads the stream elsewhere by now: it has one reader, the newest."""
        if self.journal is None or self.detached or not self.platform.streaming:
            return False
        self.listener = self.listener or ListenerLease(self.platform, self.journal.stream)
        return await self.listener.is_anothers()
