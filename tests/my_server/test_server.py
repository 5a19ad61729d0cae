"""What the server offers, as a client lists it."""

import pytest
from mcp_types import ToolAnnotations

from mcp_edge.auth.permissions import Permissions
from mcp_edge.auth.scopes import needs_of
from my_server.server import create_server

from .deployment import Edge

pytestmark = pytest.mark.anyio

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
CALLS_OUT = ToolAnnotations(read_only_hint=True, open_world_hint=True)


async def test_every_tool_has_a_title_a_description_a_form_of_its_result_and_says_what_it_may_do(edge: Edge) -> None:
    async with edge.client() as client:
        tools = (await client.list_tools()).tools

    assert {tool.name: tool.annotations for tool in tools} == {
        "whoami": READS,
        "add_note": ADDS,
        "search_notes": READS,
        "delete_note": DESTROYS,
        "import_notes": ADDS,
        "organizations": CALLS_OUT,
    }
    assert all(tool.title and tool.description and tool.output_schema for tool in tools)


async def test_every_argument_is_described_and_only_arguments_are_asked_of_the_model(edge: Edge) -> None:
    async with edge.client() as client:
        tools = (await client.list_tools()).tools

    arguments = {tool.name: tool.input_schema.get("properties", {}) for tool in tools}
    assert {name: sorted(properties) for name, properties in arguments.items()} == {
        "whoami": [],
        "add_note": ["tags", "text", "title"],
        "search_notes": ["cursor", "limit", "query"],
        "delete_note": ["id"],
        "import_notes": ["count", "lines", "pause_s"],
        "organizations": ["limit"],
    }
    assert all(argument["description"] for properties in arguments.values() for argument in properties.values())


async def test_whoever_may_not_write_notes_can_still_read_them_and_ask_who_they_are(edge: Edge) -> None:
    server = create_server(edge.platform.settings)
    permissions = Permissions(server, lambda name: None)
    await permissions.start()

    assert permissions.scopes.closure({"notes:write"}) == {"notes:write", "notes:read"}
    assert permissions.scopes.read_only == {"notes:read", "organizations:read"}
    assert {tool.name: needs_of(tool.meta) for tool in await server.list_tools()} == {
        "whoami": frozenset(),
        "add_note": {"notes:write"},
        "search_notes": {"notes:read"},
        "delete_note": {"notes:write"},
        "import_notes": {"notes:write"},
        "organizations": {"organizations:read"},
    }
    assert await permissions.needed("prompts/get", {"name": "summarize_notes"}) == {"notes:read"}
    assert await permissions.needed("resources/read", {"uri": "notes://0123456789abcdef"}) == {"notes:read"}


async def test_notes_are_offered_as_a_template_and_a_prompt(edge: Edge) -> None:
    async with edge.client() as client:
        templates = (await client.list_resource_templates()).resource_templates
        prompts = (await client.list_prompts()).prompts
        resources = (await client.list_resources()).resources

    assert [(t.uri_template, t.mime_type) for t in templates] == [("notes://{id}", "text/markdown")]
    assert [(prompt.name, [argument.name for argument in prompt.arguments or []]) for prompt in prompts] == [
        ("summarize_notes", ["topic"])
    ]
    assert resources == []
