"""The SDK's kernel, driven for one request through its public parts. It knows no HTTP, no session and no store.

`tools/call` takes a short way that answers byte for byte as the SDK's `ServerRunner` would (a contract test compares
them); whatever is unusual takes the runner itself, and is decided before any side effect.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeGuard

import mcp_types as t
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.mcpserver import MCPServer
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import ServerRunner
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp_types import methods
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider
from pydantic import TypeAdapter, ValidationError

from mcp_edge.auth.permissions import Permissions
from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.sdk.catalogue import Catalogue
from mcp_edge.sdk.connection import ENVELOPE_KEYS, MODERN, Link
from mcp_edge.sdk.dispatch import Dispatch
from mcp_edge.sdk.results import Asked, ResultWriter, asked, plain

_PARAMS = TypeAdapter(t.CallToolRequestParams).validator
_PLAIN_PARAMS = frozenset({"name", "arguments", "_meta"})
_CORE_ONLY = frozenset({"inputResponses", "requestState"})


class Kernel:
    """One `MCPServer` and the ways to run a request on it."""

    def __init__(self, server: MCPServer[Any], state_security: RequestStateSecurity) -> None:
        server.streamable_http_app()  # makes the low-level server reachable by its public name; the app is dropped
        self.server = server
        self.low: Server[Any] = server.session_manager.app
        self.catalogue = Catalogue(server, self.low.get_tool_input_schema)
        self.permissions = Permissions(server, self.low.get_tool_input_schema or _no_schema)
        self._install_boundary(state_security)
        self.chain = list(self.low.middleware)
        self._boundary = self._only_boundary()
        self._results = ResultWriter(self.low.server_info_stamp)
        self._options: InitializationOptions | None = None
        self._lifespan: AsyncExitStack | None = None
        self._state: Any = None

    def _install_boundary(self, security: RequestStateSecurity) -> None:
        """Give the request-state boundary the shared keys: the SDK's default key lives and dies with its process."""
        chain = self.low.middleware
        if isinstance(get_tracer_provider(), ProxyTracerProvider):
            # Nobody collects spans: opt out, as the SDK documents.
            chain[:] = [m for m in chain if type(m).__name__ != "OpenTelemetryMiddleware"]
        boundary = RequestStateBoundary(security, default_audience=self.low.name)
        chain[:] = [boundary if isinstance(m, RequestStateBoundary) else m for m in chain]

    def _only_boundary(self) -> RequestStateBoundary | None:
        first = self.chain[0] if len(self.chain) == 1 else None
        return first if isinstance(first, RequestStateBoundary) else None

    async def start(self) -> None:
        """Enter the server's lifespan, once per process; later calls return at once.

        Raises:
            ConfigurationError: the catalogue needs scopes that the server does not declare.
        """
        if self._lifespan is None:
            self._lifespan = AsyncExitStack()
            self._state = await self._lifespan.enter_async_context(self.low.lifespan(self.low))
            self._options = self.low.create_initialization_options(NotificationOptions(True, True, True))
            await self.permissions.start()

    async def stop(self) -> None:
        """Leave the lifespan."""
        if self._lifespan is not None:
            stack, self._lifespan = self._lifespan, None
            await stack.aclose()

    # -- requests ------------------------------------------------------------------------------------------------

    def request(
        self, x: Dispatch, link: Link, method: str, params: dict[str, Any] | None
    ) -> Coroutine[Any, Any, bytes | Asked]:
        """The bytes of the JSON-RPC `result`, or what must be asked first.

        On handshake versions a handler may answer with `InputRequiredResult` as on 2026-07-28; the caller asks the
        questions on the client's behalf and calls again with `inputResponses` and `requestState` in `params`.

        Raises:
            MCPError, ValidationError: the request's fault, as the SDK words it.
            InsufficientScope: the user's credential does not allow it. Nothing has run.
            Exception: a bug in a handler.
        """
        job = self._job(x, link, method, params)
        return job if x.user.scopes is None else self._permitted(x, method, params, job)

    async def _permitted(
        self, x: Dispatch, method: str, params: dict[str, Any] | None, job: Coroutine[Any, Any, bytes | Asked]
    ) -> bytes | Asked:
        try:
            await self.permissions.check(x.user, method, params)
        except BaseException:
            job.close()
            raise
        return await job

    def _job(
        self, x: Dispatch, link: Link, method: str, params: dict[str, Any] | None
    ) -> Coroutine[Any, Any, bytes | Asked]:
        version = link.protocol_version
        if (
            method == "tools/call"
            and self._boundary
            and self.low.middleware == self.chain
            and x.resumed is None
            and _certain(params, link, version)
        ):
            return self._call_tool(x, link, params, version)
        return self._request(x, link, method, params, version)

    async def _request(
        self, x: Dispatch, link: Link, method: str, params: dict[str, Any] | None, version: str
    ) -> bytes | Asked:
        """Any request, through the SDK's runner where that can serve it."""
        if method == "tools/call":
            self.catalogue.refuse_unknown_tool(params)
        elif method == "prompts/get":
            await self.catalogue.refuse_unfit_prompt(params)
        if version != MODERN and method in methods.INPUT_REQUIRED_METHODS:
            return await self._suspendable(x, link, method, params, version)
        runner = ServerRunner(self.low, link, self._state, init_options=self._options)
        result = await runner.on_request(x, method, params)
        x.failed = method == "tools/call" and result.get("isError") is True
        return encode(result)

    async def notify(self, x: Dispatch, link: Link, method: str, params: dict[str, Any] | None) -> None:
        """Hand a client notification to the server's handlers; a failing handler is logged by the SDK."""
        await ServerRunner(self.low, link, self._state).on_notify(x, method, params)

    async def _call_tool(self, x: Dispatch, link: Link, params: dict[str, Any], version: str) -> bytes | Asked:
        """`tools/call` where the SDK's validation is sure to pass: typed once, no chain but the boundary."""
        typed: t.CallToolRequestParams = _PARAMS.validate_python(params, by_name=False)
        self.catalogue.refuse_unknown_tool(params)
        ctx = self._context(x, link, "tools/call", params, typed.meta)
        entry = self.low.get_request_handler("tools/call")
        if entry is None:
            raise MCPError(t.METHOD_NOT_FOUND, "Method not found", "tools/call")
        result = await entry.handler(ctx, typed)
        if type(result) is t.CallToolResult:
            x.failed = result.is_error is True
        elif self._boundary is not None:

            async def answered(_: ServerRequestContext[Any, Any]) -> HandlerResult:
                return result

            result = await self._boundary(ctx, answered)  # seals the state of an InputRequiredResult
        if version != MODERN and methods.is_input_required(result):
            return asked(result)
        return self._results.write(result, version)

    async def _suspendable(
        self, x: Dispatch, link: Link, method: str, params: dict[str, Any] | None, version: str
    ) -> bytes | Asked:
        """A handshake request whose handler may ask: it sees a context that takes `InputRequiredResult`."""
        # What only the core may say on the client's behalf is not taken from the client.
        params = {k: v for k, v in (params or {}).items() if k not in _CORE_ONLY}
        methods.validate_client_request(method, version, params)
        entry = self.low.get_request_handler(method)
        if entry is None:
            raise MCPError(t.METHOD_NOT_FOUND, "Method not found", method)

        async def handle(ctx: ServerRequestContext[Any, Any]) -> HandlerResult:
            result = await entry.handler(ctx, entry.params_type.model_validate(ctx.params or {}, by_name=False))
            if isinstance(result, t.ErrorData):
                raise MCPError.from_error_data(result)
            if isinstance(result, t.CallToolResult):
                x.failed = result.is_error is True
            return result if methods.is_input_required(result) else self._results.sieve(method, result, version)

        full = {**params, **(x.resumed or {})}
        call: CallNext = handle
        for middleware in reversed(self.low.middleware):
            call = partial(middleware, call_next=call)
        result = await call(self._context(x, link, method, full, _meta(params)))
        return asked(result) if methods.is_input_required(result) else encode(plain(result))

    def _context(
        self, x: Dispatch, link: Link, method: str, params: dict[str, Any] | None, meta: t.RequestParamsMeta | None
    ) -> ServerRequestContext[Any, Any]:
        return ServerRequestContext(
            session=ServerSession(x, link, request_meta=meta),
            lifespan_context=self._state,
            method=method,
            params=params,
            request_id=x.request_id,
            meta=meta,
            # What the handler may answer with, not what the client speaks: that is `ctx.session.protocol_version`.
            protocol_version=MODERN,
            request=x.request,
            close_sse_stream=x.close_sse_stream,
        )


_EMPTY: dict[str, Any] = {}


def _no_schema(name: str) -> None:
    del name


def _certain(params: dict[str, Any] | None, link: Link, version: str) -> TypeGuard[dict[str, Any]]:
    """True only where the SDK's per-version validation is sure to pass. False asks the SDK."""
    if params is None or type(params.get("name")) is not str or type(params.get("arguments", _EMPTY)) is not dict:
        return False
    if not params.keys() <= _PLAIN_PARAMS:
        return False
    given: Any = params.get("_meta", _EMPTY)
    meta: dict[str, Any] = given
    if type(given) is not dict:
        return False
    for key, value in meta.items():
        if key == "progressToken":
            if type(value) is not int and type(value) is not str:
                return False
        elif key.startswith("io.modelcontextprotocol/") and (version != MODERN or key not in ENVELOPE_KEYS):
            return False
    return version != MODERN or link.certain


def _meta(params: Mapping[str, Any] | None) -> t.RequestParamsMeta | None:
    if not params or "_meta" not in params:
        return None
    try:
        return t.RequestParams.model_validate(params, by_name=False).meta
    except ValidationError:
        return None
