"""One Lambda execution environment as a host: what lives between invocations, and what the deadline does to one.

It knows the invocation's context and ASGI, and neither the Runtime API nor the form of an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache, lru_cache
from typing import Any, Protocol, cast

from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_edge.app import create_app
from mcp_edge.hosts.exposure import refuse_unsafe
from mcp_edge.outbound import http_client, public_http
from mcp_edge.platform import Platform, ProcessDrain, Telemetry
from mcp_edge.settings import PREFIX, Settings
from mcp_edge.storage.choose import open_store
from mcp_edge.telemetry.root_logger import tell_unknown

log = logging.getLogger(__name__)

MARGIN_S = 3.0
"""Before the deadline: streams close with `retry`. Half of it later, what still waits for an answer is told so."""
LAST_S = 0.5
"""Before the deadline: what still runs is cancelled, because a timeout would kill the whole environment."""
SWEEP_LIMIT = 1000
_DOMAINS = 8


CreateServer = Callable[[Settings], MCPServer[Any]]


class Context(Protocol):
    """What Lambda says of an invocation, as far as it is needed here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout."""
        ...


class Environment:
    """The stores, the app and the drain of one environment. It serves one invocation at a time, as Lambda does."""

    def __init__(
        self, create_server: CreateServer, variables: Mapping[str, str], telemetry: Telemetry, *, streaming: bool
    ) -> None:
        """Open the stores that `variables` name; the app is made when its own URL is known, at the first request.

        Raises:
            ConfigurationError: the settings cannot work, or would let everybody in without saying so.
        """
        self._create_server = create_server
        self.settings = Settings.from_env(variables)
        tell_unknown(variables)
        refuse_unsafe(self.settings, "a Function URL", insecure=variables.get(PREFIX + "AUTH") == "none")
        self.records, self.atomics = open_store(self.settings.store)
        self._telemetry = telemetry
        self._streaming = streaming
        self._drain = ProcessDrain()
        self._http, self._http_public = cache(http_client.client), cache(public_http.client)
        self.app_at = lru_cache(_DOMAINS)(self._app_at)

    def _app_at(self, domain: str) -> ASGIApp:
        """The app behind `domain`, which Lambda states in `requestContext`; no header of a caller's does."""
        settings = self.settings.model_copy(
            update={
                "public_url": self.settings.public_url or f"https://{domain}",
                "allowed_hosts": (*self.settings.allowed_hosts, domain),
            }
        )
        platform = Platform(
            settings,
            self.records,
            self.atomics,
            telemetry=self._telemetry,
            http=self._http,
            http_public=self._http_public,
            streaming=self._streaming,
            drain=self._drain,
        )
        return create_app(self._create_server, platform)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request within its invocation's time. `scope` holds `aws.event` and `aws.context`."""
        context: Context = scope["aws.context"]
        app = self.app_at(scope["aws.event"]["requestContext"]["domainName"])
        left_s = context.get_remaining_time_in_millis() / 1000
        margin_s = min(MARGIN_S, left_s / 4)
        loop, drain, answer = asyncio.get_running_loop(), self._drain, _Watched(send)
        drain.draining = drain.expired = False
        with ExitStack() as timers:
            timers.callback(loop.call_later(left_s - margin_s, setattr, drain, "draining", True).cancel)
            timers.callback(loop.call_later(left_s - margin_s / 2, setattr, drain, "expired", True).cancel)
            try:
                async with asyncio.timeout(left_s - min(LAST_S, margin_s / 4)):
                    await app(scope, receive, answer)
            except TimeoutError:
                log.warning("invocation %s was cut off before the function's timeout", context.aws_request_id)
                await answer.cut_off()

    async def other(self, event: Any) -> dict[str, Any]:
        """Answer an event that is no request: a schedule's sweeps expired records, a warmer's gets a word.

        Raising would count as the function's error, and be an alarm.
        """
        if _member(event, "source") == "aws.events":
            swept = [await store.sweep(limit=SWEEP_LIMIT) for store in (self.records, self.atomics)]
            return {"status": "swept", "records": sum(swept)}
        return {"status": "alive"}


def is_request(event: Any) -> bool:
    """Whether `event` is an HTTP request in payload format 2.0: a Function URL's, or that of an HTTP API."""
    context = _member(event, "requestContext")
    return _member(event, "version") == "2.0" and all(_member(context, name) for name in ("domainName", "http"))


def _member(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


class _Watched:
    """A `send` that knows how far the response is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = self._ended = False

    async def __call__(self, message: Message) -> None:
        self._started = True
        self._ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def cut_off(self) -> None:
        """End the response: a stream with what it has, which is resumable where the wire can; any other with 504."""
        if not self._started:
            headers = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
            await self._send({"type": "http.response.start", "status": 504, "headers": headers})
            body = b'{"error":"The call did not end within the time that this function has."}'
            await self._send({"type": "http.response.body", "body": body})
        elif not self._ended:
            await self._send({"type": "http.response.body", "body": b""})
