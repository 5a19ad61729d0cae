"""The one error tree, and the one table from error to HTTP status. It knows no HTTP library and no wire.

EdgeError
├── CallerError             the caller's mistake: answered with its status and its message
│   ├── BadRequest          400
│   ├── Unauthenticated     401
│   ├── Forbidden           403
│   │   └── InsufficientScope  what the credential does not allow, and another one could
│   ├── NotFound            404
│   ├── MethodNotAllowed    405
│   ├── NotAcceptable       406
│   ├── TooLarge            413
│   ├── UnsupportedMedia    415
│   ├── Misdirected         421
│   └── TooMany             429
├── ConfigurationError      the operator's mistake: the process refuses to start
├── StoreUnavailable        503 with Retry-After: the store cannot be reached
└── UpstreamError           an upstream API failed: a tool result with `isError`
A bug is any other exception: logged once with the request id, answered with a fixed message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any


class EdgeError(Exception):
    """Base of every error that mcp-edge raises on purpose."""

    request_id: int | str | None = None
    """The id of the JSON-RPC request, once it is known."""


class CallerError(EdgeError):
    """The caller's mistake. `message` is public; `code` and `data` are the JSON-RPC error's."""

    def __init__(
        self,
        message: str,
        *,
        code: int = -32600,
        data: Any = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data
        self.headers = headers


class BadRequest(CallerError):
    """The message cannot be understood or contradicts itself."""


class Unauthenticated(CallerError):
    """No credential, or one that is not valid here."""


class Forbidden(CallerError):
    """The credential or the origin may not do this."""


class InsufficientScope(Forbidden):
    """The credential is good, but does not allow this (RFC 6750 §3.1). `needed` are all scopes of the operation, `held`
    those of the credential."""

    def __init__(self, needed: Collection[str], held: Collection[str] = ()) -> None:
        words = " ".join(sorted(needed))
        super().__init__(f"This needs the scope {words}.", data={"scope": words})
        self.asked = frozenset((*needed, *held))
        """What the client is told to ask for. Older ones ask for just that, and would lose what they have (MCP
        2025-11-25 authorization, Runtime Insufficient Scope Errors)."""


class NotFound(CallerError):
    """There is no such thing for this caller."""


class MethodNotAllowed(CallerError):
    """The path exists, the HTTP method does not."""


class NotAcceptable(CallerError):
    """The client accepts no media type that could answer it."""


class TooLarge(CallerError):
    """The body is over the limit."""


class UnsupportedMedia(CallerError):
    """The body is not JSON."""


class Misdirected(CallerError):
    """The Host is not one of ours."""


class TooMany(CallerError):
    """A quota of the principal is used up."""


class ConfigurationError(EdgeError):
    """The settings cannot work. The message says which one and what to do."""


class StoreUnavailable(EdgeError):
    """The store cannot be reached now; the same request may succeed later."""


class UpstreamError(EdgeError):
    """An upstream API failed or refused. The message is for the user."""


STATUS: Mapping[type[EdgeError], int] = MappingProxyType(
    {
        BadRequest: 400,
        Unauthenticated: 401,
        Forbidden: 403,
        InsufficientScope: 403,
        NotFound: 404,
        MethodNotAllowed: 405,
        NotAcceptable: 406,
        TooLarge: 413,
        UnsupportedMedia: 415,
        Misdirected: 421,
        TooMany: 429,
        StoreUnavailable: 503,
    }
)
"""Error to HTTP status."""
