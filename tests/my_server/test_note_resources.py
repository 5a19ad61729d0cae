"""Notes are read as resources, gathered by a prompt and suggested while typing, each time for their user alone."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmbeddedResource,
    GetPromptResult,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)

from .deployment import BOB, Edge, value

pytestmark = pytest.mark.anyio

NOTE = ResourceTemplateReference(uri="notes://{id}")
SUMMARY = PromptReference(name="summarize_notes")


async def add(client: Client, title: str, text: str, *tags: str) -> dict[str, Any]:
    return value(await client.call_tool("add_note", {"title": title, "text": text, "tags": tags}))


async def test_a_note_is_read_as_markdown(each_era: Edge) -> None:
    async with each_era.client() as client:
        added = await add(client, "Tea", "Green", "drinks", "kitchen")
        [contents] = (await client.read_resource(added["uri"])).contents

    assert contents == TextResourceContents(
        uri=added["uri"],
        mime_type="text/markdown",
        text="# Tea\n\nGreen\n\nTags: drinks, kitchen\n",
        _meta={"mcp-edge/scopes": ["notes:read"]},
    )


@pytest.mark.parametrize("note_id", ["0123456789abcdef", "x", "0" * 600, "%00", "a%20b"])
async def test_a_note_that_is_not_there_is_not_found(edge: Edge, note_id: str) -> None:
    async with edge.client() as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(f"notes://{note_id}")

    assert refused.value.code == INVALID_PARAMS


async def test_what_cannot_be_an_id_never_reaches_the_store(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(key: str) -> bytes | None:
        raise AssertionError(f"read {key!r}")

    monkeypatch.setattr(edge.platform.records, "get", get)
    async with edge.client() as client:
        with pytest.raises(MCPError, match="There is no note with this id"):
            await client.read_resource("notes://" + "0" * 600)


async def test_another_user_s_note_does_not_exist(each_era: Edge) -> None:
    async with each_era.client() as alice:
        uri = (await add(alice, "Tea", "Green", "drinks"))["uri"]
    async with each_era.client(BOB) as bob:
        with pytest.raises(MCPError, match="There is no note with this id"):
            await bob.read_resource(uri)
        ids = await bob.complete(NOTE, {"name": "id", "value": ""})
        tags = await bob.complete(SUMMARY, {"name": "topic", "value": ""})

    assert (ids.completion.values, tags.completion.values) == ([], [])


async def test_ids_and_tags_are_suggested_as_they_are_typed(each_era: Edge) -> None:
    async with each_era.client() as client:
        tea = (await add(client, "Tea", "Green", "drinks"))["note"]["id"]
        await add(client, "Bread", "Rye", "bakery", "drinks")
        ids = await client.complete(NOTE, {"name": "id", "value": tea[:6]})
        tags = await client.complete(SUMMARY, {"name": "topic", "value": "DR"})
        nothing = await client.complete(SUMMARY, {"name": "elsewhere", "value": ""})

    assert ids.completion.values == [tea]
    assert tags.completion.values == ["drinks"]
    assert nothing.completion.values == []


async def test_the_prompt_carries_the_notes_on_the_topic(each_era: Edge) -> None:
    async with each_era.client() as client:
        tea = await add(client, "Tea", "Green", "drinks")
        await add(client, "Bread", "Rye")
        prompt = await client.get_prompt("summarize_notes", {"topic": "drinks"})

    question, note = (message.content for message in prompt.messages)
    assert isinstance(question, TextContent)
    assert "“drinks”" in question.text
    assert isinstance(note, EmbeddedResource)
    assert note.resource == TextResourceContents(
        uri=tea["uri"], mime_type="text/markdown", text="# Tea\n\nGreen\n\nTags: drinks\n"
    )


async def test_the_prompt_says_so_when_no_note_is_on_the_topic(edge: Edge) -> None:
    async with edge.client() as client:
        prompt: GetPromptResult = await client.get_prompt("summarize_notes", {"topic": "whales"})

    [only] = prompt.messages
    assert isinstance(only.content, TextContent)
    assert "none of my notes mentions “whales”" in only.content.text
