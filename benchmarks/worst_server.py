"""The server that `worst_clients` attacks: a tool with a large answer, and name servers that never answer."""

from __future__ import annotations

import threading
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer

from mcp_edge.outbound import lookups
from mcp_edge.settings import Settings


class _Silent:
    """Stands for the module `socket` where strangers' names are looked up. It opens none."""

    SOCK_STREAM = lookups.socket.SOCK_STREAM

    def getaddrinfo(self, *_args: Any, **_options: Any) -> list[Any]:
        """Wait for ever, as the system does for half a minute."""
        threading.Event().wait()
        return []


def create_server(settings: Settings) -> MCPServer[Any]:
    """As `mcp-edge serve --app` calls it."""
    del settings
    lookups.socket = _Silent()  # pyright: ignore[reportAttributeAccessIssue]
    server = MCPServer[Any]("worst")

    @server.tool()
    async def much(mib: int) -> str:  # pyright: ignore[reportUnusedFunction]
        """So many MiB of text."""
        return "x" * (mib * 1024 * 1024)

    @server.tool()
    async def slowly(seconds: float) -> str:  # pyright: ignore[reportUnusedFunction]
        """Takes its time."""
        await anyio.sleep(seconds)
        return "done"

    return server
