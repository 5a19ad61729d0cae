"""What is relied on in the SDK beyond its documented interface is as it was. A release that changes it fails here.

Where code of ours follows a function of the SDK, both are run, and the function's source is compared with what was
followed. When that differs: read what has changed, follow it, and write down the new digest.
"""

# What is private is guarded here, and used nowhere else.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import fields
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import mcp_types as t
import pytest
from mcp.server import _otel, runner
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.prompts.base import Prompt
from mcp.server.mcpserver.tools.base import Tool
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import ServerRunner
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp_types import methods
from pydantic import ValidationError

from mcp_edge.protocol.revisions import REVISIONS, Revision
from mcp_edge.sdk import kernel, lowlevel
from mcp_edge.sdk.connection import RequestConnection
from mcp_edge.sdk.pagination import LISTS
from mcp_edge.sdk.results import ResultWriter
from tests.sdk.test_kernel_contract import CALLS
from tests.support.deployment import ENVELOPE

pytestmark = pytest.mark.anyio

EVERY = pytest.mark.parametrize("revision", REVISIONS.values(), ids=REVISIONS)
ANY: Any = None
"""An argument that nobody reads."""

FOLLOWED: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "_extract_meta": (runner._extract_meta, lowlevel.request_meta, "9bb9d7518353"),
    "_compose_server_middleware": (ServerRunner._compose_server_middleware, lowlevel.chained, "2c699703c5f1"),
    "_serialize": (ServerRunner._serialize, ResultWriter.sieve, "2f3f0fbc6333"),
    "_stamp_server_info": (ServerRunner._stamp_server_info, ResultWriter.sieve, "e9bf68544a45"),
    "_on_request": (ServerRunner._on_request, kernel.Kernel._suspendable, "0465f03ef0e3"),
    "_make_context": (ServerRunner._make_context, kernel.Kernel._context, "68b63f91eedc"),
    "MCPServer.get_prompt": (MCPServer.get_prompt, lowlevel.wrong_prompt_argument, "8d517996d8ff"),
    "Prompt.render": (Prompt.render, lowlevel.wrong_prompt_argument, "9e55e7825b87"),
}
"""Name in the documentation of ours -> the SDK's function, ours that follows it, the digest of the SDK's."""


def server() -> MCPServer[Any]:
    """A server with one of each kind."""
    made: MCPServer[Any] = MCPServer("guarded")

    @made.tool()
    def double(n: int) -> int:
        return 2 * n

    @made.prompt()
    def count(n: int) -> str:
        return str(n)

    @made.resource("note://one")
    def one() -> str:
        return "1"

    del double, count, one
    return made


# -- what is followed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_is_followed_is_as_it_was(name: str) -> None:
    theirs, _, digest = FOLLOWED[name]

    assert digest_of(theirs) == digest


@pytest.mark.parametrize("name", FOLLOWED)
def test_ours_says_what_it_follows(name: str) -> None:
    _, ours, _ = FOLLOWED[name]

    assert f"{name}`" in (ours.__doc__ or "")


def test_the_version_that_the_documentation_names_is_installed() -> None:
    assert "in mcp 2.3." in (lowlevel.__doc__ or "")
    assert version("mcp").split(".")[:2] == ["2", "3"]


def digest_of(function: Callable[..., Any]) -> str:
    """Of the function's code, without its comments and its documentation."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef))
    if ast.get_docstring(definition) is not None:
        del definition.body[0]
    return sha256(ast.unparse(tree).encode()).hexdigest()[:12]


# -- the low-level server ----------------------------------------------------------------------------------------------


def test_the_lowlevel_server_is_the_one_inside() -> None:
    made = server()

    assert lowlevel.lowlevel_server(made) is made._lowlevel_server


def test_a_tool_is_found_by_its_name() -> None:
    made = server()
    found = lowlevel.tool_named(made, "double")

    assert type(found) is Tool
    assert found.fn_metadata.arg_model.model_validate({"n": 1})
    assert lowlevel.tool_named(made, "triple") is None


def test_the_handlers_that_are_wrapped_are_registered_and_those_that_are_added_are_not() -> None:
    low = lowlevel.lowlevel_server(server())

    for method in (*LISTS, "tools/call", "prompts/get", "resources/read"):
        entry = low.get_request_handler(method)
        assert entry is not None
        assert issubclass(entry.params_type, t.RequestParams)
    for method in ("logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
        assert low.get_request_handler(method) is None


# -- middleware --------------------------------------------------------------------------------------------------------


def test_the_tracing_middleware_is_installed_under_its_name() -> None:
    low = lowlevel.lowlevel_server(server())

    assert [type(each) for each in low.middleware] == [_otel.OpenTelemetryMiddleware, RequestStateBoundary]
    lowlevel.drop_unused_tracing(low)
    assert [type(each) for each in low.middleware] == [RequestStateBoundary]


def test_a_kernel_has_only_the_boundary_so_that_calls_take_the_short_way() -> None:
    made = kernel.Kernel(server(), RequestStateSecurity(keys=["k" * 32]))

    assert [type(each) for each in made.low.middleware] == [RequestStateBoundary]


async def test_middleware_is_chained_as_the_runner_chains_it() -> None:
    low: Server[Any] = Server("chained")
    seen: list[str] = []

    def noting(name: str) -> ServerMiddleware[Any]:
        async def note(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
            seen.append(name)
            return await call_next(ctx)

        return note

    async def handle(ctx: ServerRequestContext[Any, Any]) -> HandlerResult:
        seen.append("handler")
        return None

    low.middleware[:] = [noting("outer"), noting("inner")]
    theirs = ServerRunner(low, ANY, None)._compose_server_middleware(handle)
    await theirs(ANY)
    order, seen = seen, []
    await lowlevel.chained(low.middleware, handle)(ANY)
    assert seen == order == ["outer", "inner", "handler"]


# -- the connection and the context ------------------------------------------------------------------------------------


async def test_a_connection_has_every_attribute_of_the_sdks() -> None:
    theirs = vars(Connection(ANY, protocol_version="v"))
    ours = RequestConnection(ANY, "v", None, None, None)
    values = {name: getattr(ours, "client_params" if name == "_client_params" else name) for name in theirs}

    assert {name: type(value) for name, value in values.items()} == {name: type(each) for name, each in theirs.items()}
    assert vars(ours).keys() - theirs.keys() == {"certain", "needs_clean_up"}
    assert ours.initialize_accepted


async def test_a_connection_needs_no_clean_up_until_a_handler_asks_for_one() -> None:
    connection = RequestConnection(ANY, "v", None, None, None)
    cleaned: list[str] = []

    await connection.aclose()
    assert not connection.needs_clean_up
    connection.exit_stack.callback(cleaned.append, "up")
    assert connection.needs_clean_up
    await connection.aclose()
    assert cleaned == ["up"]


def test_a_context_has_the_fields_that_are_filled() -> None:
    assert {field.name for field in fields(ServerRequestContext)} == {
        "session", "lifespan_context", "method", "params", "request_id", "meta", "protocol_version", "request",
        "close_sse_stream", "close_standalone_sse_stream",
    }  # fmt: skip
    assert list(inspect.signature(ServerSession).parameters) == ["request_outbound", "connection", "request_meta"]


# -- requests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_the_meta_of_a_request_is_the_sdks(name: str) -> None:
    assert lowlevel.request_meta(CALLS[name]) == runner._extract_meta(CALLS[name])


@EVERY
@pytest.mark.parametrize("name", CALLS)
def test_the_sdk_accepts_what_is_surely_valid(name: str, revision: Revision) -> None:
    params: dict[str, Any] | None = CALLS[name]
    if revision.has_envelope:
        given = params or {}
        params = {**given, "_meta": {**ENVELOPE, **(given.get("_meta") or {})}}

    if kernel._surely_valid(params, revision, client_is_valid=True):
        methods.validate_client_request("tools/call", revision.version, params)


@EVERY
def test_the_commonest_call_is_surely_valid(revision: Revision) -> None:
    params: Any = {"name": "echo", "arguments": {"text": "hi"}, "_meta": {"progressToken": 1}}
    if revision.has_envelope:
        params["_meta"] |= ENVELOPE

    assert kernel._surely_valid(params, revision, client_is_valid=True)
    assert kernel._surely_valid(params, revision, client_is_valid=False) != revision.has_envelope


# -- results -----------------------------------------------------------------------------------------------------------

BLOCK = {"type": "text", "text": "hi"}
RESULTS: dict[str, tuple[str, Any]] = {
    "typed": ("tools/call", t.CallToolResult(content=[t.TextContent(text="hi")])),
    "an error": ("tools/call", t.CallToolResult(content=[], is_error=True)),
    "structured": ("tools/call", t.CallToolResult(content=[], structured_content={"a": 1})),
    "a structured list": ("tools/call", {"content": [], "structuredContent": [1]}),
    "a dictionary": ("tools/call", {"content": [BLOCK], "more": 1}),
    "no content": ("tools/call", {}),
    "nothing": ("tools/call", None),
    "own meta": ("tools/call", {"content": [], "_meta": {"com.example/x": 1}}),
    "own server": ("tools/call", {"content": [], "_meta": {t.SERVER_INFO_META_KEY: {"name": "n", "version": "1"}}}),
    "null server": ("tools/call", {"content": [], "_meta": {t.SERVER_INFO_META_KEY: None}}),
    "prompt": ("prompts/get", t.GetPromptResult(messages=[])),
    "resource": ("resources/read", t.ReadResourceResult(contents=[])),
}


@EVERY
@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_shaped_as_the_runner_shapes_it(name: str, revision: Revision) -> None:
    low = lowlevel.lowlevel_server(server())
    theirs = ServerRunner(low, ANY, None)
    ours = ResultWriter(low.server_info_stamp)
    method, result = RESULTS[name]

    expected = outcome(lambda: theirs._serialize(method, revision.version, result))
    assert outcome(lambda: ours.sieve(method, result, revision)) == expected
    if name in ("typed", "an error", "structured"):
        assert json.loads(ours.write(result, revision)) == expected


def outcome(shape: Callable[[], Any]) -> Any:
    """What it returns, or says."""
    try:
        return shape()
    except (MCPError, ValidationError) as e:
        return str(e)


async def test_a_wrong_argument_of_a_prompt_is_told() -> None:
    with pytest.raises(ValueError, match="Error rendering prompt") as raised:
        await server().get_prompt("count", {"n": "x"})

    said = lowlevel.wrong_prompt_argument(raised.value)
    assert said is not None
    assert said.startswith("Invalid argument n: Input should be a valid integer")
    assert lowlevel.wrong_prompt_argument(ValueError("another")) is None


async def test_routes_of_the_server_s_own_stand_beside_the_sdk_s_route_alone() -> None:
    server = MCPServer("routes")

    async def hook(request: Any) -> Any:
        return request

    server.custom_route("/hook", methods=["POST"])(hook)

    assert [getattr(route, "path", None) for route in lowlevel.custom_routes(server)] == ["/hook"]
    assert lowlevel.custom_routes(MCPServer("none")) == []
