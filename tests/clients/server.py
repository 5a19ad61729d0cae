"""The server that every client of these tests is driven against: one tool for each thing a client can observe.

It knows no wire, and nothing of the processes around it but its own id.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

import anyio
from mcp.server.mcpserver import (
    AcceptedElicitation,
    Context,
    Elicit,
    ElicitationResult,
    ListRoots,
    MCPServer,
    Resolve,
    Sample,
)
from mcp_types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

from mcp_edge import changes_bus, state
from mcp_edge.settings import Settings

GREETING = "clients://greeting"
LONGEST_WAIT_S = 30
"""A tool that nobody cancels or releases ends by itself, so that no test can wait for ever."""

Ctx = Context[None, object]


class Place(BaseModel):
    """The answer to `ask`."""

    city: str


class Consent(BaseModel):
    """The answer to `confirm`."""

    sure: bool


def consent(action: str) -> Elicit[Consent]:
    """Ask whether `action` may go on."""
    return Elicit(f"Really {action}?", Consent)


def completion(topic: str) -> Sample:
    """Have the client's model write about `topic`."""
    question = SamplingMessage(role="user", content=TextContent(text=f"A line about {topic}"))
    return Sample([question], max_tokens=16)


def client_roots() -> ListRoots:
    """Fetch the client's roots."""
    return ListRoots()


def create_server(settings: Settings) -> MCPServer[None]:
    """A server with something of everything."""
    del settings
    server: MCPServer[None] = MCPServer("clients", version="1.0", subscriptions=changes_bus())
    _add_plain(server)
    _add_questions(server)
    _add_long(server)
    _add_changes(server)
    return server


def _add_plain(server: MCPServer[None]) -> None:
    @server.tool()
    async def echo(text: str) -> str:
        """Answer with `text`, and emit nothing before."""
        return text

    @server.tool()
    async def pid() -> int:
        """The process that answers."""
        return os.getpid()

    @server.resource(GREETING)
    def greeting() -> str:
        """A resource that is always there."""
        return "hello"

    @server.resource("clients://notes/{number}")
    def note(number: str) -> str:
        """A resource made from its URI."""
        return f"note {number}"

    @server.prompt()
    def greet(name: str) -> str:
        """A prompt with one argument."""
        return f"Say hello to {name}."


def _add_questions(server: MCPServer[None]) -> None:
    @server.tool()
    async def ask(ctx: Ctx) -> str:
        """Ask in the middle of the call, which is held meanwhile."""
        answer = await ctx.elicit("Which city?", Place)
        return f"accept {answer.data.city}" if isinstance(answer, AcceptedElicitation) else answer.action

    @server.tool()
    async def confirm(action: str, answer: Annotated[ElicitationResult[Consent], Resolve(consent)]) -> str:
        """Ask before the call, which is suspended meanwhile."""
        return f"{action}: {answer.data.sure}" if isinstance(answer, AcceptedElicitation) else answer.action

    @server.tool()
    async def sample(topic: str, written: Annotated[CreateMessageResult, Resolve(completion)]) -> str:
        """Let the client's model write."""
        assert isinstance(written.content, TextContent)
        return f"{topic}: {written.content.text}"

    @server.tool()
    async def roots(found: Annotated[ListRootsResult, Resolve(client_roots)]) -> list[str]:
        """The client's roots."""
        return [str(root.uri) for root in found.roots]


def _add_long(server: MCPServer[None]) -> None:
    @server.tool()
    async def count(to: int, pace_s: float, ctx: Ctx) -> int:
        """Count, telling progress and a log message for each number, `pace_s` seconds apart."""
        for number in range(1, to + 1):
            await ctx.report_progress(number, to, f"at {number}")
            await ctx.info(f"counted {number}")  # pyright: ignore[reportDeprecated]  # clients of today still log
            await anyio.sleep(pace_s)
        return to

    @server.tool()
    async def slow(token: str, ctx: Ctx) -> str:
        """Work until cancelled, and leave a record of how that ended."""
        await state().put(f"slow/{token}", "running")
        await ctx.report_progress(1, 2, "running")
        try:
            await anyio.sleep(LONGEST_WAIT_S)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await state().put(f"slow/{token}", "cancelled")
            raise
        return "nobody cancelled"

    @server.tool()
    async def fate(token: str) -> str:
        """How `slow` ended."""
        return await state().get(f"slow/{token}") or "unknown"

    @server.tool()
    async def wait(token: str, ctx: Ctx) -> int:
        """Wait until `release` is called with the same token; the process that waited."""
        await ctx.report_progress(1, 2, "waiting")
        with anyio.fail_after(LONGEST_WAIT_S):
            while await state().get(f"wait/{token}") is None:
                await anyio.sleep(0.02)
        await ctx.report_progress(2, 2, "released")
        return os.getpid()

    @server.tool()
    async def release(token: str) -> int:
        """Let `wait` go on; the process that said so."""
        await state().put(f"wait/{token}", value=True)
        return os.getpid()

    @server.tool()
    async def drop_stream(ctx: Ctx) -> str:
        """End the stream of this very call, then say more: the client has to come back for it."""
        await ctx.report_progress(1, 2, "before")
        await ctx.close_sse_stream()
        await ctx.report_progress(2, 2, "after")
        return "resumed"


def _add_changes(server: MCPServer[None]) -> None:
    @server.tool()
    async def change(what: Literal["tools", "resources", "prompts"], ctx: Ctx) -> int:
        """Tell listeners that a list changed; the process that said so."""
        tell = {
            "tools": ctx.notify_tools_changed,
            "resources": ctx.notify_resources_changed,
            "prompts": ctx.notify_prompts_changed,
        }
        await tell[what]()
        return os.getpid()

    @server.tool()
    async def touch(uri: str, ctx: Ctx) -> int:
        """Tell subscribers that a resource was updated; the process that said so."""
        await ctx.notify_resource_updated(uri)
        return os.getpid()
