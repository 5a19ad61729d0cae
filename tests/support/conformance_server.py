"""The fixture server of the official conformance suite: its tools, resources and prompts answer each scenario.

It uses the SDK's public API alone, as a fork's server does. `logging/setLevel` and the handshake subscriptions are the
core's own. Tools are stateless between calls, so any process can serve any round.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    AudioContent,
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

from mcp_edge.settings import Settings
from mcp_edge.tools.current import changes_bus
from tests.conformance.questions import add_asking_tools, add_input_required_tools, entered, form

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"  # one red pixel
WAV = "UklGRigAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQQAAACAgICA"  # four samples of silence

SCHEMA_2020_12: dict[str, object] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _json_schema_2020_12_tool() -> str:
    """Has an input schema of JSON Schema 2020-12 keywords that no signature expresses."""
    return "ok"


def create_server(settings: Settings) -> MCPServer:
    """The fixture server. It reads no setting."""
    del settings
    schema_tool = Tool.from_function(
        _json_schema_2020_12_tool, name="json_schema_2020_12_tool", structured_output=False
    )
    server = MCPServer(
        name="conformance",
        version="1.0.0",
        subscriptions=changes_bus(),
        # First in the list, so the header scenarios call it with no arguments.
        tools=[schema_tool.model_copy(update={"parameters": SCHEMA_2020_12})],
    )
    _content_tools(server)
    _emitting_tools(server)
    add_asking_tools(server)
    add_input_required_tools(server)
    _resources(server)
    _prompts(server)
    return server


def _text_resource(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def _png() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def _content_tools(server: MCPServer) -> None:
    """Tools whose whole answer is their result."""

    @server.tool(structured_output=False)
    def test_simple_text() -> str:
        """Answers with text."""
        return "This is a simple text response for testing."

    @server.tool(structured_output=False)
    def test_image_content() -> ImageContent:
        """Answers with an image."""
        return _png()

    @server.tool(structured_output=False)
    def test_audio_content() -> AudioContent:
        """Answers with sound."""
        return AudioContent(type="audio", data=WAV, mime_type="audio/wav")

    @server.tool(structured_output=False)
    def test_embedded_resource() -> EmbeddedResource:
        """Answers with a resource inside the result."""
        return _text_resource("test://embedded-resource", "This is an embedded resource content.")

    @server.tool(structured_output=False)
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Answers with text, an image and a resource."""
        data = json.dumps({"test": "data", "value": 123})
        return [
            TextContent(type="text", text="Multiple content types test:"),
            _png(),
            _text_resource("test://mixed-content-resource", data, "application/json"),
        ]

    @server.tool(structured_output=False)
    def test_error_handling() -> str:
        """Always fails."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    def test_x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        """Takes an argument that clients mirror in a header."""
        return f"Region: {region}"


async def _log(ctx: Context, text: str) -> None:
    await ctx.info(text)  # pyright: ignore[reportDeprecated] - older clients still read log messages


def _emitting_tools(server: MCPServer) -> None:
    """Tools that send notifications while they run, or cause some elsewhere."""

    @server.tool(structured_output=False)
    async def test_tool_with_logging(ctx: Context) -> str:
        """Sends three log messages."""
        await _log(ctx, "Tool execution started")
        await anyio.sleep(0.05)
        await _log(ctx, "Tool processing data")
        await anyio.sleep(0.05)
        await _log(ctx, "Tool execution completed")
        return "Logged three messages."

    @server.tool(structured_output=False)
    async def test_logging_tool(ctx: Context) -> str:
        """Sends a log message, which nobody sees who did not ask for it."""
        await _log(ctx, "Only for those who asked")
        return "Logged."

    @server.tool(structured_output=False)
    async def test_tool_with_progress(ctx: Context) -> str:
        """Reports progress three times."""
        await ctx.report_progress(0, 100)
        await anyio.sleep(0.05)
        await ctx.report_progress(50, 100)
        await anyio.sleep(0.05)
        await ctx.report_progress(100, 100)
        return "Reported progress."

    @server.tool(structured_output=False)
    async def test_reconnection(ctx: Context) -> str:
        """Closes its stream before it answers, so that the client has to come back (SEP-1699)."""
        await ctx.close_sse_stream()
        await anyio.sleep(0.1)
        return "Reconnection test completed."

    @server.tool(structured_output=False)
    async def test_trigger_tool_change(ctx: Context) -> str:
        """Says that the tools changed."""
        await ctx.notify_tools_changed()
        return "Tools changed."

    @server.tool(structured_output=False)
    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Says that the prompts changed."""
        await ctx.notify_prompts_changed()
        return "Prompts changed."


def _resources(server: MCPServer) -> None:
    @server.resource("test://static-text", description="Text that never changes.", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", description="One red pixel.", mime_type="image/png")
    def static_binary() -> bytes:
        return b64decode(PNG)

    @server.resource("test://watched-resource", description="To subscribe to.", mime_type="text/plain")
    def watched_resource() -> str:
        return "Watched."

    @server.resource("test://template/{id}/data", description="Data by id.", mime_type="application/json")
    def template_data(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        words = ["paris", "park", "party", "test-value"]
        return Completion(values=[word for word in words if word.startswith(argument.value)], has_more=False)


def _prompts(server: MCPServer) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt without arguments."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(
        arg1: Annotated[str, Field(description="First test argument")],
        arg2: Annotated[str, Field(description="Second test argument")],
    ) -> str:
        """A prompt with two arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(
        resourceUri: Annotated[str, Field(description="URI of the resource to embed")],  # noqa: N803 - the scenario's name
    ) -> list[UserMessage]:
        """A prompt with a resource inside."""
        embedded = _text_resource(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(embedded), UserMessage("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """A prompt with an image."""
        return [UserMessage(_png()), UserMessage("Please analyze the image above.")]

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
        """A prompt that asks first."""
        context = entered(ctx, "user_context", "context")
        if context is None:
            question = form("What context should the prompt use?", context="string")
            return InputRequiredResult(input_requests={"user_context": question})
        return f"Use this context: {context}"
