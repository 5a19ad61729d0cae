"""`add_note`, `search_notes`, `delete_note`: the notes of the calling user, and nobody else's."""

from typing import Annotated, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

import mcp_edge
from my_server import notebook
from my_server.notebook import MAX_TAGS, Change, Note, Tag, Text, Title


class AddedNote(BaseModel):
    """What `add_note` did."""

    note: Note
    uri: str = Field(description="The note as a resource.")
    change: Change


async def add_note(
    ctx: Context,
    title: Annotated[Title, Field(description="What the note is about, in a few words.")],
    text: Annotated[Text, Field(description="The note itself, in Markdown.")],
    tags: Annotated[tuple[Tag, ...], Field(description="Words to find it by.", max_length=MAX_TAGS)] = (),
) -> AddedNote:
    """Write a note. The same title and text again is the same note: it only gains the new tags."""
    note, change = await notebook.save(title, text, tags)
    if change == "added":
        await ctx.notify_resources_changed()
    if change == "tagged":
        await ctx.notify_resource_updated(note.uri)
    return AddedNote(note=note, uri=note.uri, change=change)


class FoundNotes(BaseModel):
    """One page of a search."""

    notes: list[Note]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last one.")


async def search_notes(
    query: Annotated[str, Field(description="Words that the note must contain; none finds all.", max_length=200)] = "",
    limit: Annotated[int, Field(description="Notes per page.", ge=1, le=50)] = 10,
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before.", max_length=64)] = None,
) -> FoundNotes:
    """Find notes by words in their title, text or tags."""
    if cursor is not None and not notebook.is_id(cursor):
        raise ToolError("This cursor is not one that search_notes returned. Leave it out to start again.")
    found: list[Note] = []
    async for note in notebook.search(query, after=cursor or ""):
        if len(found) == limit:
            return FoundNotes(notes=found, next_cursor=found[-1].id)
        found.append(note)
    return FoundNotes(notes=found, next_cursor=None)


class Confirmation(BaseModel):
    """What the user is asked before a note goes. A model becomes a form: one field, one checkbox."""

    delete: bool = Field(title="Delete it", description="A deleted note cannot be brought back.")


NoteId = Annotated[str, Field(description="The id of a note, as search_notes returns it.", max_length=64)]


async def _existing(id: str) -> Note:
    note = await notebook.load(id)
    if note is None:
        raise ToolError("There is no note with this id. Find the right one with search_notes.")
    return note


async def _ask(note: Annotated[Note, Resolve(_existing)]) -> Elicit[Confirmation]:
    return Elicit(f"Delete the note “{note.title}” ({len(note.text)} characters)?", Confirmation)


class Deletion(BaseModel):
    """What became of the note."""

    outcome: Literal["deleted", "declined", "cancelled"] = Field(
        description="`declined`: the user wants to keep it; `cancelled`: the user did not answer."
    )
    id: str
    title: str


async def delete_note(
    ctx: Context,
    id: NoteId,
    note: Annotated[Note, Resolve(_existing)],
    answer: Annotated[ElicitationResult[Confirmation], Resolve(_ask)],
) -> Deletion:
    """Delete a note for good. The user is asked first."""
    # `Resolve` asks before this body starts, and nothing waits in memory: the call is put aside, and whichever
    # instance gets the answer goes on with it. The functions above may therefore run once more by then.
    if answer.action == "cancel":
        return Deletion(outcome="cancelled", id=id, title=note.title)
    if not (isinstance(answer, AcceptedElicitation) and answer.data.delete):
        return Deletion(outcome="declined", id=id, title=note.title)
    await notebook.remove(note)
    await ctx.notify_resource_updated(note.uri)
    await ctx.notify_resources_changed()
    return Deletion(outcome="deleted", id=id, title=note.title)


def register(server: MCPServer) -> None:
    """Offer the tools."""
    server.add_tool(
        add_note,
        title="Add a note",
        meta=mcp_edge.requires("notes:write"),
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )
    server.add_tool(
        search_notes,
        title="Search notes",
        meta=mcp_edge.requires("notes:read"),
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )
    server.add_tool(
        delete_note,
        title="Delete a note",
        meta=mcp_edge.requires("notes:write"),
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
        ),
    )
