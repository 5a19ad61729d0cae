"""What a server offers, as far as its requests need to know: the tools' schemas and hints, the prompts' arguments.

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
    """The tools and prompts of one `MCPServer`. Each answer is about the moment of the question."""

    def __init__(self, server: MCPServer[Any], schema: Callable[[str], Any] | None) -> None:
        """`schema` returns a tool's schema object by the tool's name, and None for an unknown tool. `schema` itself is
        None where the server has no such function."""
        self._server = server
        self._schema = schema
        self._annotated: dict[str, tuple[Any, bool]] = {}

    def refuse_unknown_tool(self, params: Mapping[str, Any] | None) -> None:
        """Refuse the call of an unknown tool: a JSON-RPC error, no result with `isError` (MCP 2026-07-28 tools, Error
        Handling).

        Raises:
            MCPError: -32602.
        """
        name = (params or {}).get("name")
        if self._schema is not None and type(name) is str and self._schema(name) is None:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {name}")

    async def refuse_unfit_prompt(self, params: Mapping[str, Any] | None) -> None:
        """Refuse an unknown prompt or a missing argument: the caller's mistakes, which the SDK answers as the server's.

        Raises:
            MCPError: -32602.
        """
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
        """The refusal of a `tools/call` whose `Mcp-Param-*` headers and arguments disagree; None where they agree (MCP
        2026-07-28 transports)."""
        name = params.get("name")
        if self._schema is None or type(name) is not str:
            return None
        schema = self._schema(name)
        arguments = params.get("arguments")
        if schema is None or (arguments is not None and not isinstance(arguments, Mapping)):
            return None
        return validate_mcp_param_headers(schema, cast("Mapping[str, Any]", arguments or {}), headers)

    def has_param_headers(self, name: Any) -> bool:
        """Whether the tool `name` declares `x-mcp-header` parameters. The answer lives as long as the tool's schema."""
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
        """Whether a request may run again when its instance died: it reads, or its tool's annotations allow that."""
        if method != "tools/call":
            return True
        hints = await self._tool(params)
        return bool(
            hints and hints.annotations and (hints.annotations.read_only_hint or hints.annotations.idempotent_hint)
        )

    async def digest(self, method: str, params: Mapping[str, Any] | None) -> str:
        """A digest of the definition of the tool that is called, empty for other methods and unknown tools. A suspended
        call does not resume on another version of its tool."""
        tool = await self._tool(params) if method == "tools/call" else None
        return "" if tool is None else short_hash(tool.model_dump_json())

    async def _tool(self, params: Mapping[str, Any] | None) -> t.Tool | None:
        name = (params or {}).get("name")
        return next((tool for tool in await self._server.list_tools() if tool.name == name), None)
