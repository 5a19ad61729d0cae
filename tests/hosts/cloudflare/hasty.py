"""A fork that makes its server when it is imported, which draws a random key: Cloudflare refuses such a Worker."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

from mcp_edge.settings import Settings

SERVER = MCPServer[None]("hasty")


def create_server(settings: Settings) -> MCPServer[None]:
    """The server that is there already."""
    del settings
    return SERVER
