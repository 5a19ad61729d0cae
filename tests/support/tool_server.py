"""The server that the wires are tested with: tools that wait at a gate, ask, emit, fail, and say what ran where."""

from __future__ import annotations

import asyncio
import warnings
from contextvars import ContextVar
from functools import cache
from typing import Annotated, Any

from mcp import MCPDeprecationWarning
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp_types import (
    Annotations,
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    PromptReference,
    ResourceTemplateReference,
    SamplingMessage,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel, Field

from mcp_edge.records.sessions import LEVELS
from mcp_edge.settings import Settings
from mcp_edge.tools.current import changes_bus, current_user

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"


class Recorder:
    """What the tools of every instance share with the test."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        """`instance:tool`, in the order in which they began."""
        self.ends: list[str] = []
        """The same, for how they ended: `instance:tool:done` or `…:cancelled`."""
        self._gates: dict[str, asyncio.Event] = {}

    def gate(self, name: str) -> asyncio.Event:
        """Where the waiting tools of one instance wait; open it with `set`."""
        return self._gates.setdefault(name, asyncio.Event())


HERE: ContextVar[tuple[Recorder, str]] = ContextVar("here")
"""The recorder, and the name of the instance that runs a tool. All share the tools: each takes 1.5 ms to make."""


class Name(BaseModel):
    """A form of one field."""

    name: str


def _who() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


class Sum(BaseModel):
    """A structured result."""

    sum: int


def create_server(settings: Settings) -> MCPServer[Any]:
    """The server of every instance. Its tools find out by `HERE` which one runs them."""
    del settings
    server = MCPServer[Any]("wires", version="1.0.0", tools=_tools(), subscriptions=changes_bus())
    _others(server)
    return server


@cache
def _tools() -> list[Tool]:
    server = MCPServer[Any]("tools")
    _plain_tools(server)
    _odd_tools(server)
    _waiting_tools(server)
    _emitting_tools(server)
    _asking_tools(server)
    return server._tool_manager.list_tools()  # pyright: ignore[reportPrivateUsage]  # the public ones are no `Tool`


async def gate() -> None:
    """Wait where the waiting tools of this instance wait."""
    recorder, instance = HERE.get()
    await recorder.gate(instance).wait()


def runs(tool: str) -> None:
    """A tool of this instance has begun."""
    recorder, instance = HERE.get()
    recorder.runs.append(f"{instance}:{tool}")


def _ends(tool: str, how: str) -> None:
    recorder, instance = HERE.get()
    recorder.ends.append(f"{instance}:{tool}:{how}")


def _plain_tools(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    def echo(text: str) -> str:
        """Answers with its argument."""
        return text

    @server.tool()
    def add(a: int, b: int = 0) -> Sum:
        """Has a structured result."""
        return Sum(sum=a + b)

    @server.tool(structured_output=False)
    def anything(value: Any = None) -> str:
        """Takes every JSON value."""
        return type(value).__name__

    @server.tool(structured_output=False)
    def whoami() -> str:
        """Says who calls."""
        return current_user().subject

    @server.tool(structured_output=False)
    def by_region(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "none") -> str:
        """Takes an argument that clients mirror in a header."""
        return region


def _odd_tools(server: MCPServer[Any]) -> None:
    """Results and failures of every kind."""

    @server.tool(structured_output=False)
    def picture() -> ImageContent:
        """Answers with an image."""
        return ImageContent(type="image", data=PIXEL, mime_type="image/png")

    @server.tool(structured_output=False)
    def annotated() -> TextContent:
        """Answers with an annotated text that has metadata."""
        return TextContent(
            type="text", text="x", annotations=Annotations(audience=["user"], priority=1), _meta={"a": 1}
        )

    @server.tool(structured_output=False)
    def embedded() -> EmbeddedResource:
        """Answers with a resource inside."""
        return EmbeddedResource(type="resource", resource=TextResourceContents(uri="note://inside", text="in"))

    @server.tool(structured_output=False)
    def whole_result() -> CallToolResult:
        """Makes its result itself."""
        return CallToolResult(content=[TextContent(type="text", text="no")], is_error=True, _meta={"own": True})

    @server.tool()
    def numbers() -> list[float]:
        """Has a structured list, with what JSON cannot say."""
        return [1.5, float("inf"), 10**30]

    @server.tool(structured_output=False)
    def surrogate() -> str:
        """Answers with text that UTF-8 cannot hold."""
        return "half \ud83d"

    @server.tool(structured_output=False)
    def nothing() -> None:
        """Answers with nothing."""

    @server.tool(structured_output=False)
    def fail() -> str:
        """Fails as a tool may."""
        raise ToolError("It did not work.")

    @server.tool(structured_output=False)
    def crash() -> str:
        """Has a bug."""
        raise ZeroDivisionError("secret detail")

    @server.tool(structured_output=False)
    def refuse(code: int = -32602) -> str:
        """Answers with a protocol error."""
        raise MCPError(code, "Refused.", {"why": "because"})


def _waiting_tools(server: MCPServer[Any]) -> None:
    async def wait(ctx: Context, tool: str, topic: str) -> str:
        runs(tool)
        try:
            await ctx.report_progress(0, 1, topic)
            await gate()
        except asyncio.CancelledError:
            _ends(tool, "cancelled")
            raise
        _ends(tool, "done")
        return f"{topic} by {HERE.get()[1]}"

    @server.tool(structured_output=False, annotations=ToolAnnotations(read_only_hint=True))
    async def look_up(topic: str, ctx: Context) -> str:
        """Only reads, so it may be run again."""
        return await wait(ctx, "look_up", topic)

    @server.tool(structured_output=False, annotations=ToolAnnotations(idempotent_hint=True))
    async def put(topic: str, ctx: Context) -> str:
        """Has the same effect twice as once."""
        return await wait(ctx, "put", topic)

    @server.tool(structured_output=False)
    async def change(topic: str, ctx: Context) -> str:
        """Must not be run again."""
        return await wait(ctx, "change", topic)

    @server.tool(structured_output=False)
    async def stubborn(ctx: Context) -> str:
        """Answers although it is cancelled."""
        await ctx.report_progress(0, 1)
        try:
            await gate()
        except asyncio.CancelledError:
            _ends("stubborn", "cancelled")
        return "all the same"

    @server.tool(structured_output=False)
    async def leave_early(ctx: Context) -> str:
        """Closes its stream before it has its answer."""
        await ctx.close_sse_stream()
        await gate()
        return "late"

    @server.tool(structured_output=False)
    async def rush(ctx: Context) -> str:
        """Reports progress faster than it is sent, then waits."""
        for n in range(1, 101):
            await ctx.report_progress(n, 100)
        await gate()
        return "rushed"


def _emitting_tools(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    async def count(to: int, ctx: Context) -> str:
        """Reports progress `to` times without a pause."""
        for n in range(1, to + 1):
            await ctx.report_progress(n, to)
        return "counted"

    @server.tool(structured_output=False)
    async def say(ctx: Context) -> str:
        """Logs one message of each level."""
        for level in LEVELS:
            # The SDK warns when the coroutine is made: nothing is awaited while the warning is off.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MCPDeprecationWarning)
                sending = ctx.session.send_log_message(  # pyright: ignore[reportDeprecated] - handshake clients read it
                    level=level,  # pyright: ignore[reportArgumentType] - one of the literals
                    data=level,
                    related_request_id=ctx.request_id,
                )
            await sending
        return "said"

    @server.tool(structured_output=False)
    async def announce(ctx: Context) -> str:
        """Says that the tools changed."""
        await ctx.notify_tools_changed()
        return "announced"

    @server.tool(structured_output=False)
    async def touch(uri: str, ctx: Context) -> str:
        """Says that a resource changed."""
        await ctx.notify_resource_updated(uri)
        return "touched"


def _asking_tools(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    async def greet(answer: Annotated[ElicitationResult[Name], Resolve(_who)]) -> str:
        """Asks by a resolver: suspended."""
        runs("greet")
        return f"Hello, {answer.data.name}!" if isinstance(answer, AcceptedElicitation) else answer.action

    @server.tool(structured_output=False)
    async def greet_now(ctx: Context) -> str:
        """Asks while it runs: held."""
        runs("greet_now")
        answer = await ctx.elicit("Who are you?", Name)
        return f"Hello, {answer.data.name}!" if isinstance(answer, AcceptedElicitation) else answer.action

    @server.tool(structured_output=False)
    async def joke(ctx: Context) -> str:
        """Asks the client's model while it runs."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text="A joke"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            asking = ctx.session.create_message(  # pyright: ignore[reportDeprecated] - the handshake wires have it
                [message], max_tokens=9, related_request_id=ctx.request_id
            )
        answer = await asking
        return answer.content.text if isinstance(answer.content, TextContent) else "no text"

    @server.tool(structured_output=False)
    async def remember(ctx: Context) -> str | InputRequiredResult:
        """Keeps its place in the request's state."""
        answer = (ctx.input_responses or {}).get("word")
        if ctx.request_state == "asked" and isinstance(answer, ElicitResult) and answer.content:
            return f"state kept, word {answer.content['word']}"
        schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
        question = ElicitRequest(params=ElicitRequestFormParams(message="Which word?", requested_schema=schema))
        return InputRequiredResult(input_requests={"word": question}, request_state="asked")


def _others(server: MCPServer[Any]) -> None:
    """Resources, prompts, completion."""

    @server.resource("note://fixed", mime_type="text/plain")
    def fixed() -> str:
        return "fixed"

    @server.resource("note://one/{id}", mime_type="text/plain")
    def one(id: str) -> str:
        return f"note {id}"

    @server.prompt()
    def hello(name: str) -> str:
        """A prompt with an argument."""
        return f"Say hello to {name}."

    @server.prompt()
    def plain() -> str:
        """A prompt without arguments."""
        return "Say hello."

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        del ref, context
        return Completion(values=[w for w in ("anna", "anton", "berta") if w.startswith(argument.value)])
