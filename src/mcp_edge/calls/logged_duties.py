"""A call whose stream is logged: what has to be looked after while it lasts. It knows no wire."""

from __future__ import annotations

from typing import cast

from mcp_edge.calls.call import Call
from mcp_edge.calls.duties import Cancellation, Credential, Duties, Every, Flush, SessionLife, Slot
from mcp_edge.calls.logged_stream import LoggedStream
from mcp_edge.calls.outcome import Stop


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


def logged_duties(call: Call) -> Duties:
    """What has to be looked after in a call whose outlet is a `LoggedStream`."""
    outlet = cast("LoggedStream", call.outlet)
    return Duties(
        Slot(call.platform, "streams", call.user, lambda: outlet.name),
        Flush(outlet.flush),
        Cancellation(call.platform, outlet.session.key, call.message[2], lambda: outlet.began),
        Credential(call.core, call.request, call.user),
        SessionLife(call.core, outlet.session),
        Lease(outlet),
        HandOver(outlet),
    )
