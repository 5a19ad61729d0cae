"""What became of a call: the response that ends it, or the reason why it ends without one. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Stop(Enum):
    """Why a call or a held stream stops before its own end. A call's log line has the value as its `status`."""

    GONE = "gone"
    """The client has left, and on this wire nobody comes back."""
    CANCELLED = "cancelled"
    """The client has cancelled the request."""
    LOST = "lost"
    """Another instance runs the call now; this one must not say another word."""
    ENDED = "ended"
    """The session has ended, or the credential is no longer valid."""
    REFUSED = "refused"
    """The user holds as many streams as one may; the client is told."""
    SUSPENDED = "suspended"
    """The call waits for an answer, and goes on wherever the client comes back to."""
    MOVED = "moved"
    """The client is sent elsewhere: to a newer stream, or to another instance where this one stops."""


class Outcome(NamedTuple):
    """The end of a call."""

    status: str
    """For the log line: `ok`, `tool_error`, `interrupted`, an error code, or the value of a `Stop`."""
    body: bytes | None = None
    """The final JSON-RPC response; None where nothing more is said."""
    http: int = 200
    """The HTTP status, where the response has not begun."""
    stop: Stop | None = None
    """Why nothing more is said."""

    @classmethod
    def stopped(cls, stop: Stop) -> Outcome:
        """A call that ends without a response."""
        return cls(stop.value, stop=stop)
