"""One request, run on the SDK's server. It knows no HTTP, no session and no store.

`tools/call` takes a short way, which answers byte for byte as the SDK's `ServerRunner` would: a contract test compares
the two. An unusual call goes through the runner itself. Which way a call takes is decided before any side effect.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeGuard

import mcp_types as t
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.mcpserver import MCPServer
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import ServerRunner
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp_types import methods
from pydantic import TypeAdapter

from mcp_edge.auth.permissions import Permissions
from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.protocol.revisions import MODERN, REVISIONS, Revision
from mcp_edge.sdk.catalogue import Catalogue
from mcp_edge.sdk.connection import ENVELOPE_KEYS, RequestConnection
from mcp_edge.sdk.dispatch import Dispatch
from mcp_edge.sdk.lowlevel import (
    chained,
    custom_routes,
    drop_unused_tracing,
    lowlevel_server,
    request_meta,
    wrong_prompt_argument,
)
from mcp_edge.sdk.results import InputRequired, ResultWriter, input_required, plain

_PARAMS = TypeAdapter(t.CallToolRequestParams).validator
_PLAIN_PARAMS = frozenset({"name", "arguments", "_meta"})
_RESERVED = "io.modelcontextprotocol/"
_CORE_ONLY = frozenset({"inputResponses", "requestState"})

Params = dict[str, Any] | None
Job = Coroutine[Any, Any, bytes | InputRequired]


class Kernel:
    """One `MCPServer` and the ways to run a request on it."""

    def __init__(self, server: MCPServer[Any], state_security: RequestStateSecurity) -> None:
        """`state_security` seals `requestState` with keys that every instance has. `server` is changed: it gets that
        security, and loses tracing that nobody collects."""
        self.server = server
        self.low = lowlevel_server(server)
        self.custom_routes = custom_routes(server)
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
        """Give the request-state boundary the shared keys: the SDK's default key is known to one process only."""
        drop_unused_tracing(self.low)
        chain = self.low.middleware
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

    def request(self, call: Dispatch, connection: RequestConnection, method: str, params: Params) -> Job:
        """A coroutine that returns the JSON of the `result`, or what the client must be asked first.

        Nothing runs before the coroutine is awaited; close one that is not. A handler may return an
        `InputRequiredResult` on a handshake revision, too. The caller then asks the client, and makes the request again
        with the answers in `call.resumed`.

        Raises:
            MCPError, ValidationError: the request is wrong; the SDK says how.
            InsufficientScope: the user's credential does not allow the request, of which nothing has run.
            Exception: a handler has a bug.
        """
        job = self._job(call, connection, method, params)
        return job if call.user.scopes is None else self._permitted(call, method, params, job)

    async def _permitted(self, call: Dispatch, method: str, params: Params, job: Job) -> bytes | InputRequired:
        try:
            await self.permissions.check(call.user, method, params)
        except BaseException:
            job.close()
            raise
        return await job

    def _job(self, call: Dispatch, connection: RequestConnection, method: str, params: Params) -> Job:
        revision = REVISIONS[connection.protocol_version]
        if (
            method == "tools/call"
            and self._boundary
            and self.low.middleware == self.chain
            and call.resumed is None
            and _surely_valid(params, revision, client_is_valid=connection.certain)
        ):
            return self._call_tool(call, connection, params, revision)
        return self._request(call, connection, method, params, revision)

    async def _request(
        self, call: Dispatch, connection: RequestConnection, method: str, params: Params, revision: Revision
    ) -> bytes | InputRequired:
        """Run any request, unless the caller made a mistake that the SDK would answer as the server's."""
        if method == "tools/call":
            self.catalogue.refuse_unknown_tool(params)
        elif method == "prompts/get":
            return await self._get_prompt(call, connection, params, revision)
        return await self._run(call, connection, method, params, revision)

    async def _get_prompt(
        self, call: Dispatch, connection: RequestConnection, params: Params, revision: Revision
    ) -> bytes | InputRequired:
        """Run `prompts/get`. A wrong argument is the caller's mistake, which the SDK would answer as the server's."""
        await self.catalogue.refuse_unfit_prompt(params)
        try:
            return await self._run(call, connection, "prompts/get", params, revision)
        except ValueError as e:
            if (wrong := wrong_prompt_argument(e)) is None:
                raise
            raise MCPError(t.INVALID_PARAMS, wrong) from e

    async def _run(
        self, call: Dispatch, connection: RequestConnection, method: str, params: Params, revision: Revision
    ) -> bytes | InputRequired:
        """Run a request with the SDK's runner, unless its handler may need input where no result can say so."""
        if not revision.has_input_required and method in methods.INPUT_REQUIRED_METHODS:
            return await self._suspendable(call, connection, method, params, revision)
        runner = ServerRunner(self.low, connection, self._state, init_options=self._options)
        result = await runner.on_request(call, method, params)
        call.failed = method == "tools/call" and result.get("isError") is True
        return encode(result)

    async def notify(self, call: Dispatch, connection: RequestConnection, method: str, params: Params) -> None:
        """Hand a client's notification to the server's handlers. The SDK logs the failure of a handler."""
        await ServerRunner(self.low, connection, self._state).on_notify(call, method, params)

    async def _call_tool(
        self, call: Dispatch, connection: RequestConnection, params: dict[str, Any], revision: Revision
    ) -> bytes | InputRequired:
        """Run a `tools/call` that the SDK's validation surely passes: `params` are typed once, and the boundary is the
        only middleware."""
        typed: t.CallToolRequestParams = _PARAMS.validate_python(params, by_name=False)
        self.catalogue.refuse_unknown_tool(params)
        ctx = self._context(call, connection, "tools/call", params, typed.meta)
        entry = self.low.get_request_handler("tools/call")
        if entry is None:
            raise MCPError(t.METHOD_NOT_FOUND, "Method not found", "tools/call")
        result = await entry.handler(ctx, typed)
        if type(result) is t.CallToolResult:
            call.failed = result.is_error is True
        elif self._boundary is not None:

            async def answered(_: ServerRequestContext[Any, Any]) -> HandlerResult:
                return result

            result = await self._boundary(ctx, answered)  # seals the state of an InputRequiredResult
        if not revision.has_input_required and methods.is_input_required(result):
            return input_required(result)
        return self._results.write(result, revision)

    async def _suspendable(
        self, call: Dispatch, connection: RequestConnection, method: str, params: Params, revision: Revision
    ) -> bytes | InputRequired:
        """Run a handshake request whose handler may need input: its context says that it may return
        `InputRequiredResult`. Otherwise this is `_on_request` of mcp 2.3's `ServerRunner`."""
        # The core says these on the client's behalf, so a client of a handshake revision may not.
        params = {k: v for k, v in (params or {}).items() if k not in _CORE_ONLY}
        methods.validate_client_request(method, revision.version, params)
        entry = self.low.get_request_handler(method)
        if entry is None:
            raise MCPError(t.METHOD_NOT_FOUND, "Method not found", method)

        async def handle(ctx: ServerRequestContext[Any, Any]) -> HandlerResult:
            result = await entry.handler(ctx, entry.params_type.model_validate(ctx.params or {}, by_name=False))
            if isinstance(result, t.ErrorData):
                raise MCPError.from_error_data(result)
            if isinstance(result, t.CallToolResult):
                call.failed = result.is_error is True
            return result if methods.is_input_required(result) else self._results.sieve(method, result, revision)

        full = {**params, **(call.resumed or {})}
        run = chained(self.low.middleware, handle)
        result = await run(self._context(call, connection, method, full, request_meta(params)))
        return input_required(result) if methods.is_input_required(result) else encode(plain(result))

    def _context(
        self,
        call: Dispatch,
        connection: RequestConnection,
        method: str,
        params: Params,
        meta: t.RequestParamsMeta | None,
    ) -> ServerRequestContext[Any, Any]:
        """What a handler is told of its request: `_make_context` of mcp 2.3's `ServerRunner`."""
        return ServerRequestContext(
            session=ServerSession(call, connection, request_meta=meta),
            lifespan_context=self._state,
            method=method,
            params=params,
            request_id=call.request_id,
            meta=meta,
            # The revision whose results the handler may return. The client's is `ctx.session.protocol_version`.
            protocol_version=MODERN.version,
            request=call.request,
            close_sse_stream=call.close_sse_stream,
        )


def _no_schema(name: str) -> None:
    del name


_EMPTY: dict[str, Any] = {}


def _surely_valid(params: Params, revision: Revision, *, client_is_valid: bool) -> TypeGuard[dict[str, Any]]:
    """Whether `methods.validate_client_request` of mcp 2.3 accepts the params of a `tools/call` beyond doubt.

    False says nothing. `client_is_valid`: whether the SDK has accepted the request's envelope before.
    """
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
        elif key.startswith(_RESERVED) and not (revision.has_envelope and key in ENVELOPE_KEYS):
            return False
    return client_is_valid or not revision.has_envelope
