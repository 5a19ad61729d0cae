"""`import_notes`: a long-running tool, which tells how far it is and can be stopped at any time."""

import warnings
from typing import Annotated

import anyio
from mcp import MCPDeprecationWarning
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

import mcp_edge
from my_server import notebook
from my_server.notebook import MAX_NOTES, MAX_TITLE, Text

LAST_WORDS_S = 2
"""Seconds that a cancelled import may still take to announce what it has written."""


class Import(BaseModel):
    """What came of the import."""

    added: int
    already_there: int
    skipped: int = Field(description="Empty lines.")


async def import_notes(
    ctx: Context,
    lines: Annotated[tuple[Text, ...], Field(description="The notes, one per line.", max_length=MAX_NOTES)] = (),
    count: Annotated[int, Field(description="Or: how many sample notes to make.", ge=0, le=MAX_NOTES)] = 0,
    pause_s: Annotated[float, Field(description="Seconds to wait between notes, to watch it.", ge=0, le=5)] = 0.1,
) -> Import:
    """Import many notes, one after the other. Notes that are already there are left alone, so it can be repeated."""
    if bool(lines) == bool(count):
        raise ToolError("Give either `lines` or a `count` of sample notes.")
    texts = lines or tuple(f"Sample note {n}" for n in range(1, count + 1))
    result = Import(added=0, already_there=0, skipped=0)
    await _log(ctx, f"Importing {len(texts)} notes.")
    try:
        for done, text in enumerate(texts, start=1):
            # Each note is one write, so a cancellation falls between notes: what was written stays, whole.
            await _import(text, result)
            await ctx.report_progress(done, len(texts), f"{result.added} added")
            if done < len(texts):
                await anyio.sleep(pause_s)
    finally:
        if result.added:
            # Also when cancelled. A cancelled scope refuses every further await, so this one is shielded, for a while.
            with anyio.move_on_after(LAST_WORDS_S, shield=True):
                await ctx.notify_resources_changed()
    await _log(ctx, f"Imported {result.added} notes; {result.already_there} were there already.")
    return result


async def _import(text: str, result: Import) -> None:
    title = text.strip()[:MAX_TITLE].rstrip()
    if not title:
        result.skipped += 1
        return
    _, change = await notebook.save(title, text.strip(), tags=["imported"])
    if change == "added":
        result.added += 1
    else:
        result.already_there += 1


async def _log(ctx: Context, message: str) -> None:
    """Send a line to the client's log: newer clients get it if they ask for it, older ones always do."""
    # MCP 2026-07-28 deprecates logging (SEP-2577) with no successor, while most clients still show it. The SDK warns
    # when the coroutine is made, so nothing is awaited while the warning is off.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        sending = ctx.session.send_log_message(  # pyright: ignore[reportDeprecated] as said above
            level="info", data=message, logger="import_notes", related_request_id=ctx.request_id
        )
    await sending


def register(server: MCPServer) -> None:
    """Offer the tool."""
    server.add_tool(
        import_notes,
        title="Import notes",
        meta=mcp_edge.requires("notes:write"),
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )
