"""What a request that lasts does every so often: each thing is a duty, and all are done in one loop.

A duty looks, does what is due, and says why the request must stop, if it must. Calls, listeners, resumed streams and
HTTP+SSE have different duties and the same loop. A duty knows no MCP method and sends nothing but what keeps a stream
alive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from mcp_edge.calls.core import Core
from mcp_edge.calls.outcome import Stop
from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.records.cancellations import was_cancelled
from mcp_edge.records.listener import ListenerLease
from mcp_edge.records.quotas import Quotas, QuotaSlot
from mcp_edge.records.sessions import Session
from mcp_edge.user import User


class Duty(Protocol):
    """One thing that a long request looks after."""

    async def look(self) -> Stop | None:
        """Do what is due.

        Returns: why the request must stop; None where it may go on.

        Raises:
            TooMany: its user holds too many streams.
            LeaseLost: another instance runs it now.
            StoreUnavailable: the next look tries again.
        """
        ...


class Duties:
    """All that one request looks after, done in the order given."""

    def __init__(self, slot: Slot, *others: Duty) -> None:
        """`slot` is the request's place in the quota."""
        self.slot = slot
        self._all = (slot, *others)

    async def look(self) -> Stop | None:
        """Do what is due; why the request must stop, if it must. It raises what a `Duty` raises."""
        for duty in self._all:
            reason = await duty.look()
            if reason is not None:
                return reason
        return None


class Every:
    """A time that comes again and again, by the one clock of the stream."""

    def __init__(self, platform: Platform, every_s: float, *, at_once: bool = True) -> None:
        """`at_once`: it comes with the first look, too."""
        self._clock = platform.clock
        self._every_s = every_s
        self._at = 0.0 if at_once else platform.clock()

    def is_due(self) -> bool:
        """Whether it has come; then it comes again in `every_s` seconds."""
        now = self._clock()
        if 0 <= now - self._at < self._every_s:  # a clock may be set back
            return False
        self._at = now
        return True


class Slot:
    """The request's place among what its user may hold at once, taken at the first look unless it is asked for before:
    a short stream costs the store nothing."""

    def __init__(self, platform: Platform, kind: str, user: User, name: Callable[[], str] = str) -> None:
        """`name` gives that under which the request counts wherever it goes on; empty where it goes on nowhere else."""
        self._platform = platform
        self._kind = kind
        self._user = user
        self._name = name
        self._hold: QuotaSlot | None = None

    async def take(self) -> None:
        """Count from now on, until `release`.

        Raises:
            TooMany: there are as many as may be held.
        """
        if self._hold is None:
            hold = Quotas(self._platform).slot(self._kind, self._user.principal, self._name())
            self._hold = hold
            try:
                await hold.take(self._platform.settings.max_streams)
            except BaseException:
                self._hold = None
                raise

    async def look(self) -> Stop | None:
        """Take the place, or keep it; while the store is away, the next look tries again."""
        with suppress(StoreUnavailable):
            await (self.take() if self._hold is None else self._hold.keep())
        return None

    def leave(self) -> None:
        """Leave the place to what goes on under the same name: it must not be free in between."""
        self._hold = None

    async def release(self, *, for_all: bool = False) -> None:
        """Count no more; or nobody does `for_all` who share the name. While the store is away it counts for a while."""
        if self._hold is not None:
            hold, self._hold = self._hold, None
            with suppress(StoreUnavailable):
                await hold.release(for_all=for_all)


class Flush:
    """Sends the progress message that has been held back, and keeps the stream alive."""

    def __init__(self, flush: Callable[[], Awaitable[None]]) -> None:
        self._flush = flush

    async def look(self) -> Stop | None:
        """Send what is due."""
        await self._flush()
        return None


class Reader:
    """Notices that nobody reads any more, where the request ends with its reader."""

    def __init__(self, is_gone: Callable[[], bool]) -> None:
        self._is_gone = is_gone

    async def look(self) -> Stop | None:
        """`GONE` when the client has left or takes nothing."""
        return Stop.GONE if self._is_gone() else None


class Cancellation:
    """Looks whether the client has cancelled the request, at whichever instance."""

    def __init__(self, platform: Platform, session: str, request_id: int | str, since: Callable[[], float]) -> None:
        """`session` is the key of its record; a cancellation counts from `since`, in epoch seconds."""
        self._platform = platform
        self._session = session
        self._request_id = request_id
        self._since = since

    async def look(self) -> Stop | None:
        """`CANCELLED` when it has."""
        cancelled = await was_cancelled(self._platform, self._session, self._request_id, self._since())
        return Stop.CANCELLED if cancelled else None


class Credential:
    """Asks every `MCP_RECHECK_S` seconds whether the credential is still good, and allows as much."""

    def __init__(self, core: Core, request: Request, user: User, *, at_once: bool = True) -> None:
        self._core = core
        self._request = request
        self._user = user
        self._time = Every(core.platform, core.platform.settings.recheck_s, at_once=at_once)

    async def look(self) -> Stop | None:
        """`ENDED` when it is not."""
        if self._time.is_due() and not await self._core.still_valid(self._request, self._user):
            return Stop.ENDED
        return None


class SessionLife:
    """Looks, as often as a lease is renewed, whether the session still exists."""

    def __init__(self, core: Core, session: Session, *, every_s: float | None = None, at_once: bool = True) -> None:
        """`every_s` seconds; a third of `MCP_LEASE_S` unless it is given."""
        self._core = core
        self._session = session
        every_s = core.platform.settings.lease_s / 3 if every_s is None else every_s
        self._time = Every(core.platform, every_s, at_once=at_once)

    async def look(self) -> Stop | None:
        """`ENDED` when it does not."""
        if self._time.is_due() and not await self._core.sessions.alive(self._session):
            return Stop.ENDED
        return None


class Drain:
    """Notices that the process is about to stop, or that the host holds no stream for longer."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._until = platform.clock() + platform.stream_budget_s

    async def look(self) -> Stop | None:
        """`MOVED` when the client must come back, to whichever instance."""
        if self._platform.drain.draining or self._platform.clock() >= self._until:
            return Stop.MOVED
        return None


class OneReader:
    """Looks whether the stream's client reads it elsewhere by now: it has one reader, the newest."""

    def __init__(self, listener: ListenerLease) -> None:
        self._listener = listener

    async def look(self) -> Stop | None:
        """`MOVED` when it does."""
        return None if await self._listener.is_mine() else Stop.MOVED
