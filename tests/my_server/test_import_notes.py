"""An import tells how far it is, can be repeated, and leaves whole notes when it is stopped."""

from __future__ import annotations

import anyio
import pytest
from mcp import Client
from mcp.server.subscriptions import ResourcesListChanged
from mcp_types import LoggingMessageNotificationParams

from my_server import notebook

from .deployment import Edge, failure, value

pytestmark = pytest.mark.anyio


class Listener:
    """What a client sees of a call that is under way."""

    def __init__(self) -> None:
        self.progress: list[tuple[float, float | None, str | None]] = []
        self.log: list[str] = []

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total, message))

    async def on_log(self, params: LoggingMessageNotificationParams) -> None:
        self.log.append(f"{params.level} {params.logger}: {params.data}")


async def stored(client: Client) -> list[dict[str, object]]:
    return value(await client.call_tool("search_notes", {"limit": 50}))["notes"]


async def test_lines_become_notes_and_the_client_follows_progress_and_log(each_era: Edge) -> None:
    seen = Listener()
    async with each_era.client(log=seen.on_log) as client:
        imported = await client.call_tool(
            "import_notes", {"lines": ["Tea", " ", "x" * 200], "pause_s": 0}, progress_callback=seen.on_progress
        )
        notes = {str(note["text"]): note for note in await stored(client)}

    assert value(imported) == {"added": 2, "already_there": 0, "skipped": 1}
    assert notes["Tea"]["title"] == "Tea"
    assert notes["x" * 200]["title"] == "x" * notebook.MAX_TITLE
    assert notes["Tea"]["tags"] == ["imported"]
    assert seen.progress == [(1, 3, "1 added"), (2, 3, "1 added"), (3, 3, "2 added")]
    assert seen.log == [
        "info import_notes: Importing 3 notes.",
        "info import_notes: Imported 2 notes; 0 were there already.",
    ]
    assert each_era.events == [ResourcesListChanged()]


async def test_an_import_that_is_repeated_adds_nothing(edge: Edge) -> None:
    async with edge.client() as client:
        first = await client.call_tool("import_notes", {"count": 3, "pause_s": 0})
        edge.events.clear()
        again = await client.call_tool("import_notes", {"count": 4, "pause_s": 0})
        once_more = await client.call_tool("import_notes", {"count": 4, "pause_s": 0})

    assert value(first) == {"added": 3, "already_there": 0, "skipped": 0}
    assert value(again) == {"added": 1, "already_there": 3, "skipped": 0}
    assert value(once_more) == {"added": 0, "already_there": 4, "skipped": 0}
    assert edge.events == [ResourcesListChanged()]


async def test_a_cancelled_import_keeps_what_it_wrote_and_says_that_the_notes_changed(each_era: Edge) -> None:
    async with each_era.client() as client:
        with anyio.CancelScope() as call:

            async def stop_at_one(progress: float, total: float | None, message: str | None) -> None:
                del total, message
                if progress == 1:
                    call.cancel()

            await client.call_tool("import_notes", {"count": 3, "pause_s": 5}, progress_callback=stop_at_one)
        assert call.cancelled_caught
        # Within the pause: the import ended because it was cancelled.
        with anyio.fail_after(4):
            await each_era.announced.wait()
        written = await stored(client)
        resumed = value(await client.call_tool("import_notes", {"count": 3, "pause_s": 0}))

    assert [(note["title"], note["text"], note["tags"]) for note in written] == [
        ("Sample note 1", "Sample note 1", ["imported"])
    ]
    assert resumed == {"added": 2, "already_there": 1, "skipped": 0}


async def test_an_import_stops_at_the_limit_of_notes_and_keeps_what_fits(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "MAX_NOTES", 2)
    async with edge.client() as client:
        refused = await client.call_tool("import_notes", {"count": 3, "pause_s": 0})
        kept = await stored(client)

    assert failure(refused) == "You have 2 notes, which is the limit. Delete some first."
    assert len(kept) == 2
    assert edge.events == [ResourcesListChanged()]


@pytest.mark.parametrize("arguments", [{}, {"lines": ["a"], "count": 1}], ids=["neither", "both"])
async def test_lines_and_count_exclude_each_other(edge: Edge, arguments: dict[str, object]) -> None:
    async with edge.client() as client:
        refused = await client.call_tool("import_notes", arguments)

    assert failure(refused) == "Give either `lines` or a `count` of sample notes."


@pytest.mark.parametrize("arguments", [{"count": 201}, {"count": 1, "pause_s": 6}, {"count": 1, "pause_s": -1}])
async def test_an_import_cannot_be_made_endless(edge: Edge, arguments: dict[str, object]) -> None:
    async with edge.client() as client:
        refused = await client.call_tool("import_notes", arguments)
        assert await stored(client) == []

    assert refused.is_error
