"""A server whose tools tell which process runs them and wait until they are let go."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer

from mcp_edge import changes_bus, current_user
from mcp_edge.settings import Settings


def create_server(settings: Settings) -> MCPServer:
    """The server of these tests."""
    del settings
    server = MCPServer("waiting", subscriptions=changes_bus())

    @server.tool()
    async def process() -> int:
        """The id of the process."""
        return os.getpid()

    @server.tool()
    async def wait_for(started: str, released: str) -> str:
        """Make the file `started`, then return when the file `released` is there."""
        Path(started).touch()
        while not Path(released).exists():
            await anyio.sleep(0.01)
        return "released"

    @server.tool(structured_output=False)
    async def listed(tags: list[str]) -> str:
        """How many tags there are."""
        return str(len(tags))

    @server.tool()
    async def change(ctx: Context) -> str:
        """Say that the list of tools and a resource changed; print something, as careless code does."""
        print("careless")
        await ctx.notify_tools_changed()
        await ctx.notify_resource_updated("notes://1")
        return current_user().subject

    return server
