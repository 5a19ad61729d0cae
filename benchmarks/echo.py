"""The server that every contender built on the SDK's `MCPServer` serves: one tool with one text argument."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer


def create_server(settings: Any = None) -> MCPServer[Any]:
    """One `echo` tool. Asynchronous, so that nobody pays for a thread; the log is quiet, in the peers' favour."""
    del settings
    server = MCPServer[Any]("bench", version="1", log_level="WARNING")

    @server.tool()
    async def echo(text: str) -> str:
        """Answer with the text."""
        return text

    return server
