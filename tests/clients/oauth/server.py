"""The server that the authorized clients call: a tool that only reads, one that writes, one for which a client has to
come back, and a scope for each.
"""

from __future__ import annotations

import os

from mcp.server.mcpserver import MCPServer

from mcp_edge import Scope, current_user, declare_scopes, requires, state
from mcp_edge.settings import Settings


def create_server(settings: Settings) -> MCPServer[None]:
    """A notebook of one page for each user."""
    del settings
    server: MCPServer[None] = MCPServer("notebook", version="1.0")

    @server.tool()
    async def whoami() -> str:
        """The user's name."""
        return current_user().name

    @server.tool()
    async def pid() -> int:
        """The process that answers."""
        return os.getpid()

    @server.tool(meta=requires("page:read"))
    async def read_page() -> str:
        """What is on the page."""
        return await state().get("page") or "blank"

    @server.tool(meta=requires("page:write"))
    async def write_page(text: str) -> str:
        """Put `text` on the page, and the user's name under it."""
        await state().put("page", f"{text} ({current_user().name})")
        return "written"

    @server.tool(meta=requires("page:erase"))
    async def erase_page() -> str:
        """Leave nothing on the page."""
        await state().delete("page")
        return "erased"

    declare_scopes(
        server,
        Scope("page:read", "read your page", read_only=True),
        Scope("page:write", "write on your page", implies=("page:read",)),
        Scope("page:erase", "erase your page", on_demand=True),
    )
    return server
