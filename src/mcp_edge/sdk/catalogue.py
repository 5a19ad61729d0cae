"""What one server offers, as far as its requests have to know: its tools' schemas and hints, its prompts' arguments.

It runs nothing and knows no wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import mcp_types as t
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import X_MCP_HEADER_KEY, InboundLadderRejection, validate_mcp_param_headers

from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.text.hashing import short_hash


class Catalogue:
    """The tools and prompts of one `MCPServer`, as they are at the moment of each question."""

    def __init__(self, server: MCPServer[Any], schema: Callable[[str], Any] | None) -> None:
        """`schema` gives a tool's own schema object, or None when there is no such tool; itself None when the server
        cannot tell."""
        self._server = server
        self._schema = schema
        self._annotated: dict[str, tuple[Any, bool]] = {}

    def refuse_unknown_tool(self, params: Mapping[str, Any] | None) -> None:
        """An unknown tool is a JSON-RPC error (MCP 2026-07-28 tools, Error Handling), not a result with `isError`."""
        name = (params or {}).get("name")
        if self._schema is not None and type(name) is str and self._schema(name) is None:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {name}")

    async def refuse_unfit_prompt(self, params: Mapping[str, Any] | None) -> None:
        """An unknown prompt or a missing argument is the caller's mistake; the SDK answers both as the server's."""
        name = (params or {}).get("name")
        given: Any = (params or {}).get("arguments") or {}
        if type(name) is not str or not isinstance(given, Mapping):
            return  # the SDK's validation refuses it
        prompt = next((prompt for prompt in await self._server.list_prompts() if prompt.name == name), None)
        if prompt is None:
            raise MCPError(t.INVALID_PARAMS, f"Unknown prompt: {name}")
        missing = [
            argument.name for argument in prompt.arguments or [] if argument.required and argument.name not in given
        ]
        if missing:
            raise MCPError(t.INVALID_PARAMS, f"Missing arguments: {', '.join(missing)}")

    def param_headers_mismatch(
        self, params: Mapping[str, Any], headers: Mapping[str, str]
    ) -> InboundLadderRejection | None:
        """The refusal when `Mcp-Param-*` headers and the arguments of a `tools/call` disagree, else None."""
        name = params.get("name")
        if self._schema is None or type(name) is not str:
            return None
        schema = self._schema(name)
        arguments = params.get("arguments")
        if schema is None or (arguments is not None and not isinstance(arguments, Mapping)):
            return None
        return validate_mcp_param_headers(schema, cast("Mapping[str, Any]", arguments or {}), headers)

    def has_param_headers(self, name: Any) -> bool:
        """Whether the tool `name` declares `x-mcp-header` parameters. The answer is kept as long as its schema."""
        if self._schema is None or type(name) is not str:
            return False
        schema = self._schema(name)
        if schema is None:
            return False
        known = self._annotated.get(name)
        if known is None or known[0] is not schema:
            known = self._annotated[name] = (schema, X_MCP_HEADER_KEY.encode() in encode(schema))
        return known[1]

    async def may_run_again(self, method: str, params: Mapping[str, Any] | None) -> bool:
        """Whether a request whose instance died may simply be run again: a read, or a tool that says so."""
        if method != "tools/call":
            return True
        hints = await self._tool(params)
        return bool(
            hints and hints.annotations and (hints.annotations.read_only_hint or hints.annotations.idempotent_hint)
        )

    async def digest(self, method: str, params: Mapping[str, Any] | None) -> str:
        """A digest of the tool's definition: a suspended call is not resumed on another version of its tool."""
        tool = await self._tool(params) if method == "tools/call" else None
        return "" if tool is None else short_hash(tool.model_dump_json())

    async def _tool(self, params: Mapping[str, Any] | None) -> t.Tool | None:
        name = (params or {}).get("name")
        return next((tool for tool in await self._server.list_tools() if tool.name == name), None)
