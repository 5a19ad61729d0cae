"""The current user's notes, as records of `mcp_edge.state()`. It knows no protocol: tools and resources stand on it.

A note's id is the hash of its title and text. So writing the same note twice makes one note, and a call that is
repeated, because its answer was lost or its instance was stopped, does no harm.
"""

import re
from collections.abc import AsyncIterator, Iterable
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field, StringConstraints

import mcp_edge

MAX_TITLE = 120
MAX_TEXT = 4_000
MAX_TAG = 30
MAX_TAGS = 10
MAX_NOTES = 200
"""Notes per user. Two calls at once may pass it by one each: the count is read, not locked."""

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=MAX_TAG)]

_ID = re.compile(r"[0-9a-f]{16}")
_PREFIX = "note/"


class Note(BaseModel):
    """A note, as it is stored and as tools return it."""

    id: str
    title: str
    text: str
    tags: list[str] = Field(description="In alphabetical order.")

    @property
    def uri(self) -> str:
        """The resource that is this note."""
        return f"notes://{self.id}"

    @property
    def markdown(self) -> str:
        """The note as a document."""
        tags = f"\n\nTags: {', '.join(self.tags)}" if self.tags else ""
        return f"# {self.title}\n\n{self.text}{tags}\n"

    def mentions(self, words: Iterable[str]) -> bool:
        """Whether every one of the casefolded `words` is somewhere in the note."""
        whole = "\n".join((self.title, self.text, *self.tags)).casefold()
        return all(word in whole for word in words)


Change = Literal["added", "tagged", "unchanged"]


class Saved(NamedTuple):
    """A note after `save`, and what that did."""

    note: Note
    change: Change


async def save(title: str, text: str, tags: Iterable[str] = ()) -> Saved:
    """Write a note; if it is there already, add `tags` to it.

    Raises:
        ToolError: the user has too many notes, or the note too many tags.
    """
    note_id = sha256(f"{title}\0{text}".encode()).hexdigest()[:16]
    before = await load(note_id)
    note = Note(id=note_id, title=title, text=text, tags=sorted({*tags, *(before.tags if before else ())}))
    if note == before:
        return Saved(note, "unchanged")
    if len(note.tags) > MAX_TAGS:
        raise ToolError(f"A note has at most {MAX_TAGS} tags; this one would have {len(note.tags)}.")
    if before is None and len(await ids(limit=MAX_NOTES)) >= MAX_NOTES:
        raise ToolError(f"You have {MAX_NOTES} notes, which is the limit. Delete some first.")
    await mcp_edge.state().put(_PREFIX + note_id, note.model_dump())
    return Saved(note, "tagged" if before else "added")


async def load(note_id: str) -> Note | None:
    """The note with this id, or None."""
    # Ids come from outside: what cannot be one never becomes part of a key.
    if not is_id(note_id):
        return None
    record = await mcp_edge.state().get(_PREFIX + note_id)
    return None if record is None else Note.model_validate(record)


async def remove(note: Note) -> None:
    """Delete the note if it is there."""
    await mcp_edge.state().delete(_PREFIX + note.id)


async def ids(starting_with: str = "", *, after: str = "", limit: int = MAX_NOTES) -> list[str]:
    """Ids of notes, in order."""
    start = _PREFIX + after if after else ""
    keys = await mcp_edge.state().keys(_PREFIX + starting_with, after=start, limit=limit)
    return [key.removeprefix(_PREFIX) for key in keys]


async def search(query: str, *, after: str = "") -> AsyncIterator[Note]:
    """The notes that contain every word of `query`, in the order of their ids, from the one that follows `after`."""
    words = query.casefold().split()
    for note_id in await ids(after=after):
        note = await load(note_id)
        if note is not None and note.mentions(words):
            yield note


def is_id(text: str) -> bool:
    """Whether `text` looks like the id of a note."""
    return _ID.fullmatch(text) is not None
