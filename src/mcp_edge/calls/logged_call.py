"""A call whose stream is logged: what has to be looked after while it lasts. It knows no wire."""

from __future__ import annotations

from mcp_edge.calls.call import Call
from mcp_edge.calls.core import Core
from mcp_edge.calls.duties import Cancellation, Credential, Duties, Every, Flush, SessionLife, Slot
from mcp_edge.calls.logged_stream import LoggedStream
from mcp_edge.calls.outcome import Stop
from mcp_edge.protocol.request import Request
from mcp_edge.user import User


class Lease:
    """Renews the lease of the stream three times in its life, and sends the reader away where there is a newer one."""

    def __init__(self, outlet: LoggedStream) -> None:
        self._outlet = outlet
        self._time = Every(outlet.platform, outlet.platform.settings.lease_s / 3)

    async def look(self) -> Stop | None:
        """Renew what is due.

        Raises:
            LeaseLost: another instance runs the call now.
            StoreUnavailable
        """
        if self._time.is_due():
            await self._outlet.beat()
            if await self._outlet.has_newer_reader():
                await self._outlet.send_away()
        return None


class HandOver:
    """Sends the reader to another instance when this one is about to stop; the call goes on here."""

    def __init__(self, outlet: LoggedStream) -> None:
        self._outlet = outlet

    async def look(self) -> Stop | None:
        """End the response, if it is time."""
        if self._outlet.platform.drain.draining and not self._outlet.detached:
            await self._outlet.send_away()
        return None


def logged_call(core: Core, request: Request, user: User, outlet: LoggedStream) -> Call:
    """The call that `outlet` belongs to."""

    def duties(call: Call) -> Duties:
        return Duties(
            Slot(core.platform, "streams", user, lambda: outlet.name),
            Flush(outlet.flush),
            Cancellation(core.platform, outlet.session.key, outlet.message[2], lambda: outlet.began),
            Credential(core, request, user),
            SessionLife(core, outlet.session),
            Lease(outlet),
            HandOver(outlet),
        )

    return Call(core, request, user, outlet.session, outlet.message, outlet, duties=duties)
