"""Tools that show when what they emit arrives, and what becomes of them at an invocation's deadline."""

from __future__ import annotations

import os
import time

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

from mcp_edge import changes_bus, state
from mcp_edge.settings import Settings

Ctx = Context[None, object]
LONGEST_S = 60


def create_server(settings: Settings) -> MCPServer[None]:
    """The server of these tests."""
    del settings
    server: MCPServer[None] = MCPServer("lambda", version="1.0", subscriptions=changes_bus())

    @server.tool()
    async def clock(times: int, pace_s: float, ctx: Ctx) -> int:
        """Tell the time, several times; the process that told it."""
        for n in range(1, times + 1):
            await ctx.report_progress(n, times, repr(time.time()))
            await anyio.sleep(pace_s)
        return os.getpid()

    async def wait(ctx: Ctx) -> int:
        runs = int(await state().get("runs") or 0) + 1
        await state().put("runs", runs)
        await ctx.report_progress(runs, None, f"run {runs}")
        with anyio.move_on_after(LONGEST_S):
            while await state().get("released") is None:
                await anyio.sleep(0.05)
        return runs

    async def wait_again(ctx: Ctx) -> int:
        """Wait until released, and do no harm when run again."""
        return await wait(ctx)

    async def wait_once(ctx: Ctx) -> int:
        """Wait until released; a second run would be one too many."""
        return await wait(ctx)

    server.add_tool(wait_again, annotations=ToolAnnotations(idempotent_hint=True))
    server.add_tool(wait_once, annotations=ToolAnnotations(idempotent_hint=False, destructive_hint=True))

    @server.tool()
    async def release() -> int:
        """Let `wait_…` go on; the process that said so."""
        await state().put("released", value=True)
        return os.getpid()

    @server.tool()
    async def change(ctx: Ctx) -> int:
        """Say that the list of tools changed; the process that said so."""
        await ctx.notify_tools_changed()
        return os.getpid()

    @server.tool()
    async def long(length: int) -> str:
        """A text of this length."""
        return "x" * length

    return server
