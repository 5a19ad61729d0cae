"""The one error tree, and the one place that says what an error means to whoever asked. It knows no HTTP library and no
wire.

EdgeError
├── CallerError             the caller's mistake: answered with its status and its message
│   ├── BadRequest          400
│   ├── Unauthenticated     401
│   ├── Forbidden           403
│   │   ├── InsufficientScope  what the credential does not allow, and another one could
│   │   └── SignInRefused   the user cannot be let in (auth.identity.provider)
│   ├── NotFound            404
│   ├── MethodNotAllowed    405
│   ├── NotAcceptable       406
│   ├── TooLarge            413
│   ├── UnsupportedMedia    415
│   ├── Misdirected         421
│   ├── TooMany             429
│   └── OAuthError          400, or what its RFC says (auth.server.model)
├── ConfigurationError      500: the operator's mistake: the process refuses to start
├── StoreUnavailable        503 with Retry-After: the store cannot be reached
│   └── Lost                in passing: it is asked again (storage.cloudflare_d1_binding)
└── UpstreamError           503 with Retry-After: an upstream API failed; of a tool a result with `isError`

Whoever these are raised for catches them, so none becomes an answer of its own:
├── InvalidToken            a token is not good here, and why (auth.identity.jwks)
├── ClientNotAccepted       an access token's client is not accepted any more (auth.server.grants.access_tokens)
├── DocumentUnavailable     a client's document cannot be fetched now (auth.server.clients.document_fetch)
├── Full                    every place of a quota is taken (records.ceilings)
├── Unanswered              a question has no answer in time (records.questions)
├── LeaseLost               another instance runs the stream now (records.stream_log)
├── Suspended               a suspended call leaves this instance (calls.failures)
└── Gone                    the client has left before its request was whole (protocol.request)

A bug is any other exception: logged once with the request id, answered with a fixed message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

INTERNAL_ERROR = -32603
"""JSON-RPC 2.0 §5.1."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_SOON = MappingProxyType({"retry-after": "2"})


class EdgeError(Exception):
    """Base of every error that mcp-edge raises on purpose."""

    request_id: int | str | None = None
    """The id of the JSON-RPC request, once it is known."""


class CallerError(EdgeError):
    """The caller's mistake. `message` is public; `code` and `data` are the JSON-RPC error's; `reason` is what the log
    says."""

    status: int = 400
    """The HTTP status of the answer."""

    def __init__(
        self,
        message: str,
        *,
        code: int = -32600,
        data: Any = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(message)
        self.message = self.reason = message
        self.code = code
        self.data = data
        self.headers = headers


class BadRequest(CallerError):
    """The message cannot be understood or contradicts itself."""


class Unauthenticated(CallerError):
    """No credential, or one that is not valid here."""

    status = 401


class Forbidden(CallerError):
    """The credential or the origin may not do this."""

    status = 403


class InsufficientScope(Forbidden):
    """The credential is good, but does not allow this (RFC 6750 §3.1). `needed` are all scopes of the operation, `held`
    those of the credential."""

    def __init__(self, needed: Collection[str], held: Collection[str] = ()) -> None:
        words = " ".join(sorted(needed))
        super().__init__(f"This needs the scope {words}.", data={"scope": words})
        self.requested = frozenset((*needed, *held))
        """What the client is told to ask for. Older clients ask for just that, and would lose what they have (MCP
        2025-11-25 authorization, Runtime Insufficient Scope Errors)."""


class NotFound(CallerError):
    """There is no such thing for this caller."""

    status = 404


class MethodNotAllowed(CallerError):
    """The path exists, the HTTP method does not."""

    status = 405


class NotAcceptable(CallerError):
    """The client accepts no media type that could answer it."""

    status = 406


class TooLarge(CallerError):
    """The body is over the limit."""

    status = 413


class UnsupportedMedia(CallerError):
    """The body is not JSON."""

    status = 415


class Misdirected(CallerError):
    """The Host is not one of ours."""

    status = 421


class TooMany(CallerError):
    """A quota of the principal is used up."""

    status = 429


class ConfigurationError(EdgeError):
    """The settings cannot work. The message says which one and what to do."""


class StoreUnavailable(EdgeError):
    """The store cannot be reached now; the same request may succeed later."""


class UpstreamError(EdgeError):
    """An upstream API failed or refused. The message is for the user."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """What the log says of an error."""

    level: int
    text: str
    """With the placeholders of `logging`."""
    values: tuple[object, ...]
    traceback: Exception | None = None
    """The error whose traceback follows, if it is a bug."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error means to whoever asked, in no wire's form yet."""

    status: int
    """The HTTP status."""
    code: int
    """The JSON-RPC error's."""
    message: str
    """Public."""
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    data: Any = None
    """The JSON-RPC error's."""
    request_id: int | str | None = None
    """Which JSON-RPC request failed; None where nobody knows, or for a bug."""
    needed_scopes: frozenset[str] | None = None
    """What a challenge tells the client to ask for; None where it is not scopes that are missing."""
    log: LogLine | None = None
    """None where nothing is logged: a caller's mistake is none of the operator's."""

    def write_log(self, logger: logging.Logger) -> None:
        """Write the log's line, if there is one. It bears the name of the caller's own logger."""
        if self.log is not None:
            logger.log(self.log.level, self.log.text, *self.log.values, exc_info=self.log.traceback, stacklevel=2)

    @classmethod
    def of(cls, e: Exception, trace_id: Callable[[], str]) -> Problem:
        """The problem of any exception. `trace_id` gives the id under which the log has it, and is called only if the
        log has it."""
        match e:
            case CallerError():
                scopes = e.requested if isinstance(e, InsufficientScope) else None
                return cls(e.status, e.code, e.message, e.headers, e.data, e.request_id, scopes)
            case StoreUnavailable():
                message = "The store cannot be reached; try again."
                return cls._later(e, message, trace_id())
            case UpstreamError():
                return cls._later(e, f"{e} Try again.", trace_id())
            case ConfigurationError():  # no bug, so no traceback
                line = LogLine(logging.ERROR, "this server is not configured: %s", (e,))
                return cls._internal(line, trace_id())
            case _:
                trace = trace_id()
                return cls._internal(LogLine(logging.ERROR, "request %s failed", (trace,), e), trace)

    @classmethod
    def _later(cls, e: EdgeError, message: str, trace: str) -> Problem:
        line = LogLine(logging.ERROR, "request %s: %s", (trace, e))
        return cls(503, INTERNAL_ERROR, message, _SOON, request_id=e.request_id, log=line)

    @classmethod
    def _internal(cls, line: LogLine, trace: str) -> Problem:
        return cls(500, INTERNAL_ERROR, f"Internal error (request {trace})", log=line)
