"""What a host provides, in one frozen dataclass. Wrappers fill it; nothing below them knows which host it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import httpx

from mcp_edge.outbound import http_client, public_http
from mcp_edge.settings import Settings
from mcp_edge.storage.ports import AtomicStore, RecordStore


class CallEvent(NamedTuple):
    """One finished call, as it is logged and counted: no argument, result or secret is in it."""

    wire: str
    """`2026-07-28`, or the negotiated handshake version."""
    method: str
    name: str
    """The tool, prompt or resource template called; empty for other methods."""
    status: str
    """`ok`, `tool_error`, `cancelled`, `gone` (its client), `ended` (its session), `lost` (to another instance),
    `suspended` (the user is asked), `interrupted` (its instance stopped), or the JSON-RPC error code as text."""
    duration_ms: float
    request_id: str
    session: str
    """First 12 hex digits of the session's hash; empty without a session."""
    user: str
    client: str
    """`name/version` as the client says it is."""
    app: str = ""
    """The OAuth client that acts for the user, by its id; empty where there is none."""


class Telemetry(Protocol):
    """Where call events go."""

    def call(self, event: CallEvent) -> None:
        """Record one finished call. Must not raise, block or keep the event."""
        ...


class Silent:
    """Telemetry of nobody, for tests and embedding."""

    def call(self, event: CallEvent) -> None:
        """Drop the event."""


class Limiter(Protocol):
    """How many requests a caller may send."""

    async def allow(self, key: str) -> bool:
        """Count one more request of `key` (a principal). False when it is one too many. Must not raise."""
        ...


class Accounts(Protocol):
    """Users' own accounts at the upstream, by principal (`MCP_UPSTREAM_ACCOUNT`)."""

    @property
    def label(self) -> str:
        """Whose accounts they are."""
        ...

    async def token(self, principal: str) -> str | None:
        """A live access token; None when no account is connected (any more).

        Raises:
            UpstreamError: the provider cannot be reached.
        """
        ...

    async def renewed(self, principal: str, refused: str) -> str | None:
        """An access token other than the one that the upstream has `refused`; None when there is none any more.

        Raises:
            UpstreamError: the provider cannot be reached.
        """
        ...

    async def forget(self, principal: str, refused: str) -> None:
        """Remove the account whose token the upstream has `refused`, if it is not another one by now."""
        ...

    async def invite(self, principal: str, grant: str) -> str:
        """Have the user connect an account: the URL to open for it.

        Empty where an account comes with the sign-in: then the client's access by `grant` has ended, so that it asks
        for authorization again.
        """
        ...


class Drain(Protocol):
    """Whether whatever runs a request is about to stop."""

    @property
    def draining(self) -> bool:
        """No new stream is held; held ones close with `retry` and move to another instance. Readiness fails."""
        ...

    @property
    def expired(self) -> bool:
        """The time is up: what still waits for an answer gets its error."""
        ...


@dataclass(slots=True)
class ProcessDrain:
    """The `Drain` of a process, whose host sets it before the process stops."""

    draining: bool = False
    expired: bool = False


@dataclass(frozen=True, slots=True)
class PollIntervals:
    """Seconds between two looks of a waiting request into the store. `Backoff` waits for them."""

    first_s: float = 0.02
    """Before the second look. The pauses grow from there."""
    most_s: float = 0.25
    """The longest pause."""
    inbox_s: float = 0.05
    """The longest pause between looks into the inbox of an /sse stream. Every call waits for one."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A host, as the core sees it."""

    settings: Settings
    records: RecordStore
    atomics: AtomicStore
    telemetry: Telemetry = field(default_factory=Silent)
    http: Callable[[], httpx.AsyncClient] = http_client.client
    """A client for upstream APIs, usable on the running event loop; the host closes it."""
    http_public: Callable[[], httpx.AsyncClient] = public_http.client
    """A client for URLs that strangers name, which reaches the public internet alone; otherwise as `http`."""
    limiter: Limiter | None = None
    """None where everything is allowed, or something before the server limits."""
    clock: Callable[[], float] = time.time
    """Epoch seconds."""
    streaming: bool = True
    """False where a response is buffered to its end: no held streams, questions are suspended."""
    shared: bool = True
    """False where `atomics` reach this instance alone: no stream is logged or held, and nobody can be asked."""
    poll_intervals: PollIntervals = PollIntervals()
    stream_budget_s: float = 3600
    """A held stream closes with `retry` after this many seconds."""
    drain: Drain = field(default_factory=ProcessDrain)
    accounts: Accounts | None = None
    """Set by the app itself, where users bring their own accounts for what tools do upstream."""
