"""A fork whose one tool tells what it was given as an option of its own, without the secret."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

from mcp_edge.settings import Settings

APP = "tests.support.own_settings:create_server"


def create_server(settings: Settings) -> MCPServer[None]:
    """The server of these tests."""
    server = MCPServer[None]("own")

    @server.tool()
    async def given(name: str) -> str:
        """How long the secret is, and the option `name`."""
        return f"{len(settings.extra['WEATHER_API_KEY'])} {settings.extra.get(name, 'absent')}"

    return server
