"""Notes are added, found and deleted by their user alone; deleting asks first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp.client.context import ClientRequestContext
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp_types import (
    INVALID_PARAMS,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    InputRequiredResult,
    InputResponses,
)

from my_server import notebook
from my_server.notebook import Note

from .deployment import BOB, Edge, failure, text, value

pytestmark = pytest.mark.anyio


class Person:
    """Somebody who answers every question in the same way, and remembers what was asked."""

    def __init__(self, action: str, **content: Any) -> None:
        self._result = ElicitResult.model_validate({"action": action, "content": content or None})
        self.asked: list[ElicitRequestParams] = []

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append(params)
        return self._result


async def add(client: Client, title: str, text: str = "", tags: list[str] | None = None) -> dict[str, Any]:
    return value(await client.call_tool("add_note", {"title": title, "text": text, "tags": tags or []}))


async def titles(client: Client, **arguments: Any) -> list[str]:
    return [note["title"] for note in value(await client.call_tool("search_notes", arguments))["notes"]]


async def test_an_added_note_is_found_and_listeners_hear_that_the_notes_changed(edge: Edge) -> None:
    async with edge.client() as client:
        added = await add(client, "  Tea ", "Green tea: 70 °C.", ["Kitchen", "drinks"])
        found = value(await client.call_tool("search_notes", {"query": "TEA kitchen"}))

    note = {"id": added["note"]["id"], "title": "Tea", "text": "Green tea: 70 °C.", "tags": ["drinks", "kitchen"]}
    assert added == {"note": note, "uri": f"notes://{note['id']}", "change": "added"}
    assert found == {"notes": [note], "next_cursor": None}
    assert edge.events == [ResourcesListChanged()]


async def test_the_same_note_again_only_gains_tags(edge: Edge) -> None:
    async with edge.client() as client:
        first = await add(client, "Tea", "Green", ["a"])
        again = await add(client, "Tea", "Green", ["a"])
        tagged = await add(client, "Tea", "Green", ["b"])

    assert (first["change"], again["change"], tagged["change"]) == ("added", "unchanged", "tagged")
    assert tagged["note"] == {**first["note"], "tags": ["a", "b"]}
    assert edge.events == [ResourcesListChanged(), ResourceUpdated(uri=first["uri"])]


async def test_a_user_neither_finds_nor_deletes_the_notes_of_another(each_era: Edge) -> None:
    person = Person("accept", delete=True)
    async with each_era.client() as alice:
        added = await add(alice, "Alice's secret")
    async with each_era.client(BOB, answer=person) as bob:
        assert await titles(bob) == []
        refused = await bob.call_tool("delete_note", {"id": added["note"]["id"]})
        await add(bob, "Bob's own")
    async with each_era.client() as alice:
        assert await titles(alice) == ["Alice's secret"]

    assert failure(refused) == "There is no note with this id. Find the right one with search_notes."
    assert person.asked == []


async def test_a_search_is_read_page_by_page_and_every_note_comes_once(edge: Edge) -> None:
    names = {f"Note {n}" for n in range(7)}
    async with edge.client() as client:
        for name in names:
            await add(client, name)
        seen: list[str] = []
        cursor: str | None = None
        sizes: list[int] = []
        while cursor is not None or not sizes:
            page = value(await client.call_tool("search_notes", {"query": "note", "limit": 3, "cursor": cursor}))
            seen += [note["title"] for note in page["notes"]]
            sizes.append(len(page["notes"]))
            cursor = page["next_cursor"]

    assert sizes == [3, 3, 1]
    assert sorted(seen) == sorted(names)


async def test_a_cursor_that_was_never_given_out_is_refused(edge: Edge) -> None:
    async with edge.client() as client:
        refused = await client.call_tool("search_notes", {"cursor": "../../session"})

    assert failure(refused) == "This cursor is not one that search_notes returned. Leave it out to start again."


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"title": "   ", "text": ""}, "title"),
        ({"title": "x" * (notebook.MAX_TITLE + 1), "text": ""}, "title"),
        ({"title": "x", "text": "y" * (notebook.MAX_TEXT + 1)}, "text"),
        ({"title": "x", "text": "", "tags": [str(n) for n in range(notebook.MAX_TAGS + 1)]}, "tags"),
        ({"title": "x", "text": "", "tags": ["y" * (notebook.MAX_TAG + 1)]}, "tags.0"),
        ({"title": "\ud800", "text": ""}, "title"),
    ],
    ids=["blank title", "long title", "long text", "many tags", "long tag", "half a character"],
)
async def test_what_is_over_a_limit_is_refused_by_the_name_of_the_argument(
    edge: Edge, arguments: dict[str, Any], field: str
) -> None:
    async with edge.client() as client:
        refused = await client.call_tool("add_note", arguments)
        assert await titles(client) == []

    assert refused.is_error
    assert text(refused.content).splitlines()[1] == field


async def test_a_full_notebook_refuses_new_notes_but_not_known_ones(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "MAX_NOTES", 2)
    async with edge.client() as client:
        await add(client, "One")
        await add(client, "Two")
        refused = await client.call_tool("add_note", {"title": "Three", "text": ""})
        known = await add(client, "Two", tags=["seen"])

    assert failure(refused) == "You have 2 notes, which is the limit. Delete some first."
    assert known["change"] == "tagged"


async def test_tags_cannot_pile_up_over_several_calls(edge: Edge) -> None:
    async with edge.client() as client:
        await add(client, "Tea", tags=[f"a{n}" for n in range(notebook.MAX_TAGS)])
        refused = await client.call_tool("add_note", {"title": "Tea", "text": "", "tags": ["one more"]})

    assert failure(refused) == "A note has at most 10 tags; this one would have 11."


async def test_deleting_tells_the_user_what_goes_and_then_it_is_gone(each_era: Edge) -> None:
    person = Person("accept", delete=True)
    async with each_era.client(answer=person) as client:
        added = await add(client, "Tea", "Green")
        each_era.events.clear()
        deleted = value(await client.call_tool("delete_note", {"id": added["note"]["id"]}))
        assert await titles(client) == []

    assert deleted == {"outcome": "deleted", "id": added["note"]["id"], "title": "Tea"}
    assert each_era.events == [ResourceUpdated(uri=added["uri"]), ResourcesListChanged()]
    [question] = person.asked
    assert isinstance(question, ElicitRequestFormParams)
    assert question.message == "Delete the note “Tea” (5 characters)?"
    assert question.requested_schema["required"] == ["delete"]


@pytest.mark.parametrize(
    ("person", "outcome"),
    [
        (Person("accept", delete=False), "declined"),
        (Person("decline"), "declined"),
        (Person("cancel"), "cancelled"),
    ],
    ids=["unticked", "declined", "cancelled"],
)
async def test_a_user_who_does_not_confirm_keeps_the_note(each_era: Edge, person: Person, outcome: str) -> None:
    async with each_era.client(answer=person) as client:
        added = await add(client, "Tea")
        each_era.events.clear()
        kept = value(await client.call_tool("delete_note", {"id": added["note"]["id"]}))
        assert await titles(client) == ["Tea"]

    assert kept == {"outcome": outcome, "id": added["note"]["id"], "title": "Tea"}
    assert each_era.events == []


async def test_an_answer_to_another_note_under_the_same_call_is_not_taken(edge: Edge) -> None:
    """The question names the note, so an answer given for one cannot be replayed to delete another."""
    async with edge.client(answer=Person("accept", delete=True)) as client:
        tea = (await add(client, "Tea"))["note"]["id"]
        milk = (await add(client, "Milk"))["note"]["id"]
        asked = await client.session.call_tool("delete_note", {"id": tea}, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        yes = ElicitResult(action="accept", content={"delete": True})
        answers: InputResponses = dict.fromkeys(asked.input_requests or {}, yes)
        with pytest.raises(MCPError) as refused:
            await client.session.call_tool(
                "delete_note", {"id": milk}, input_responses=answers, request_state=asked.request_state
            )
        assert sorted(await titles(client)) == ["Milk", "Tea"]

    assert refused.value.code == INVALID_PARAMS


@given(st.text(), st.text(), st.lists(st.text(), max_size=5))
def test_a_note_is_found_by_every_word_of_it(title: str, body: str, tags: list[str]) -> None:
    note = Note(id="0" * 16, title=title, text=body, tags=tags)

    assert note.mentions(" ".join((title, body, *tags)).casefold().split())
