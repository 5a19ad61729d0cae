"""Notes to read, not to call: the resource `notes://{id}`, the prompt `summarize_notes`, and their completion."""

from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import Message, UserMessage
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    PromptReference,
    ResourceTemplateReference,
    TextResourceContents,
)
from pydantic import Field

import mcp_edge
from my_server import notebook

NOTE = "notes://{id}"
MARKDOWN = "text/markdown"
MAX_SUGGESTIONS = 100
"""MCP, completion: an answer has at most 100 values."""


async def note(id: str) -> str:
    """One of your notes, in Markdown."""
    # Resources given to the decorator are the same for everybody, so resources/list cannot name one user's notes.
    # A template with completion, and search_notes, lead to them; who reads decides whose notes are looked at.
    found = await notebook.load(id)
    if found is None:
        raise ResourceNotFoundError("There is no note with this id.")
    return found.markdown


async def summarize_notes(
    topic: Annotated[str, Field(description="Words that the notes must contain; a tag is a good one.", max_length=200)],
) -> list[Message]:
    """Summarize what your notes say about a topic."""
    messages: list[Message] = [
        UserMessage(f"Summarize what the following notes of mine say about “{topic}”. Name the notes you draw on.")
    ]
    async for found in notebook.search(topic):
        contents = TextResourceContents(uri=found.uri, mime_type=MARKDOWN, text=found.markdown)
        messages.append(UserMessage(EmbeddedResource(resource=contents)))
    if len(messages) == 1:
        return [UserMessage(f"Tell me that none of my notes mentions “{topic}”, and offer to write one.")]
    return messages


async def complete(
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion | None:
    """Suggest ids for the resource and tags for the prompt."""
    match ref, argument.name:
        case ResourceTemplateReference(uri=uri), "id" if uri == NOTE:
            return _suggest(await notebook.ids(), argument.value)
        case PromptReference(name="summarize_notes"), "topic":
            return _suggest({tag async for found in notebook.search("") for tag in found.tags}, argument.value)
        case _:
            return None


def _suggest(candidates: list[str] | set[str], typed: str) -> Completion:
    values = sorted(value for value in candidates if value.startswith(typed.lower()))
    return Completion(values=values[:MAX_SUGGESTIONS], total=len(values), has_more=len(values) > MAX_SUGGESTIONS)


def register(server: MCPServer) -> None:
    """Offer the resource, the prompt and the completion. A server has one completion handler, for all its tools."""
    server.resource(NOTE, title="Note", mime_type=MARKDOWN, meta=mcp_edge.requires("notes:read"))(note)
    server.prompt(title="Summarize notes")(summarize_notes)
    server.completion()(complete)
