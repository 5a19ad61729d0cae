"""Where the SDK is relied on beyond its documented interface. It knows no call, no session and no store.

Each function names what it relies on, in mcp 2.3. `tests/sdk/test_lowlevel.py` guards each, those of `connection` and
`results` included, and fails when a release of the SDK changes what is relied on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import mcp_types as t
from mcp.server.context import CallNext, ServerMiddleware
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools.base import Tool
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider
from pydantic import ValidationError
from starlette.routing import BaseRoute

_MAX_QUOTED_CHARS = 300
_MOST_LISTED = 1000
"""pydantic lists all of its errors or none."""


def lowlevel_server(server: MCPServer[Any]) -> Server[Any]:
    """The low-level server inside of `server`.

    `MCPServer` has no public property for it. `streamable_http_app()` makes an HTTP app, which is dropped here; after
    that, `session_manager.app` is the low-level server.
    """
    server.streamable_http_app()
    return server.session_manager.app


def custom_routes(server: MCPServer[Any]) -> list[BaseRoute]:
    """The routes that were made with `@server.custom_route`.

    `MCPServer` has no public property for them. `streamable_http_app()` puts its own route before them.
    """
    app = server.streamable_http_app()
    return [route for route in app.routes if getattr(route, "path", None) != "/mcp"]


def tool_named(server: MCPServer[Any], name: str) -> Tool | None:
    """The tool that the SDK runs as `name`; None for an unknown one, and for one of a subclass, whose validation nobody
    knows.

    `MCPServer` has no public method for it: `list_tools()` gives descriptions only.
    """
    manager = getattr(server, "_tool_manager", None)
    tool = None if manager is None else manager.get_tool(name)
    return tool if type(tool) is Tool else None


def drop_unused_tracing(server: Server[Any]) -> None:
    """Remove the middleware that makes spans where nobody collects them, as the SDK documents.

    `Server.__init__` installs `OpenTelemetryMiddleware`, whose module is private, so its name tells it from others.
    """
    if isinstance(get_tracer_provider(), ProxyTracerProvider):
        server.middleware[:] = [each for each in server.middleware if type(each).__name__ != "OpenTelemetryMiddleware"]


def chained(middleware: list[ServerMiddleware[Any]], handle: CallNext) -> CallNext:
    """`handle` inside of `middleware`, the first one outermost: `ServerRunner._compose_server_middleware`."""
    call = handle
    for each in reversed(middleware):
        call = partial(each, call_next=call)
    return call


def request_meta(params: Mapping[str, Any] | None) -> t.RequestParamsMeta | None:
    """The typed `_meta` of a request's params; None where it is missing or malformed: `_extract_meta` of the runner."""
    if not params or "_meta" not in params:
        return None
    try:
        return t.RequestParams.model_validate(params, by_name=False).meta
    except ValidationError:
        return None


def wrong_prompt_argument(e: ValueError) -> str | None:
    """What is wrong with an argument of `prompts/get`, in a sentence; None where `e` says something else.

    `Prompt.render` raises a `ValueError` from what pydantic says, and `MCPServer.get_prompt` another one from that.
    """
    rendering = e.__cause__
    invalid = rendering.__cause__ if rendering else None
    if not isinstance(invalid, ValidationError):
        return None
    if invalid.error_count() > _MOST_LISTED:
        return f"Invalid arguments: {invalid.error_count()} errors"
    first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part)[:_MAX_QUOTED_CHARS] for part in first["loc"])
    return f"Invalid argument {place[:_MAX_QUOTED_CHARS]}: {first['msg'][:_MAX_QUOTED_CHARS]}"
