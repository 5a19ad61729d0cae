"""The server under load: each tool answers with the number it was given, and leaves a mark whenever it takes effect."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import anyio
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, MCPServer, Resolve
from mcp_types import ToolAnnotations
from pydantic import BaseModel

from mcp_edge import changes_bus, state
from mcp_edge.settings import Settings

STEPS = 5
STEP_S = 0.25
EFFECT = "effect/"
"""Prefix of the marks: `effect/<token>/<unique>`, one for each time that the tool ran for this attempt."""
THING = "resilience://thing"

Ctx = Context[None, object]


class Word(BaseModel):
    """What the askers ask for."""

    word: str


class Done(BaseModel):
    """What every tool answers."""

    n: int
    token: str
    word: str = ""


def a_word(n: int) -> Elicit[Word]:
    """Ask for a word; the number tells the client which of its calls asks."""
    return Elicit(f"A word for {n}?", Word)


async def _take_effect(token: str) -> None:
    await state().put(f"{EFFECT}{token}/{uuid4().hex}", 1)


def create_server(settings: Settings) -> MCPServer[None]:
    """The server. It reads no setting."""
    del settings
    server: MCPServer[None] = MCPServer("resilience", version="1.0", subscriptions=changes_bus())

    async def steps(n: int, token: str, ctx: Ctx) -> Done:
        await _take_effect(token)
        for step in range(STEPS):
            await ctx.report_progress(step + 1, STEPS, str(n))
            await anyio.sleep(STEP_S)
        return Done(n=n, token=token)

    server.tool(name="idempotent_steps", annotations=ToolAnnotations(idempotent_hint=True))(steps)
    server.tool(name="plain_steps")(steps)

    @server.tool()
    async def echo(n: int, token: str) -> Done:
        """Answer at once."""
        await _take_effect(token)
        return Done(n=n, token=token)

    @server.tool()
    async def ask_first(n: int, token: str, answer: Annotated[ElicitationResult[Word], Resolve(a_word)]) -> Done:
        """Ask before the call, which is suspended meanwhile."""
        await _take_effect(token)
        assert isinstance(answer, AcceptedElicitation)
        return Done(n=n, token=token, word=answer.data.word)

    @server.tool()
    async def ask_held(n: int, token: str, ctx: Ctx) -> Done:
        """Ask in the middle of the call, which is held meanwhile."""
        answer = await ctx.elicit(f"A word for {n}?", Word)
        assert isinstance(answer, AcceptedElicitation)
        await _take_effect(token)
        return Done(n=n, token=token, word=answer.data.word)

    @server.tool()
    async def touch(n: int, token: str, ctx: Ctx) -> Done:
        """Say that the tools and one resource changed."""
        await _take_effect(token)
        await ctx.notify_tools_changed()
        await ctx.notify_resource_updated(THING)
        return Done(n=n, token=token)

    return server
