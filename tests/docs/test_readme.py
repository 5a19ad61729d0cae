"""A new user follows the README from its first block to its last, and each of them works."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.docs.pages import PAGES, Block, blocks
from tests.docs.reader import Reader

README = PAGES[0]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A new user with a checkout and an empty home."""
    with Reader(tmp_path) as new_user:
        yield new_user


async def connect(reader: Reader, block: Block) -> None:
    """A client takes the block as its configuration."""
    ((name, entry),) = reader.json(block)["mcpServers"].items()
    assert name == "my-server"
    if "command" in entry:
        server: Any = stdio_client(StdioServerParameters(command=entry["command"], args=entry["args"]))
    elif "headers" in entry:
        key = entry["headers"]["Authorization"].removeprefix("Bearer ")
        host = entry["url"].removeprefix("http://").partition(":")[0]
        assert entry["url"] == f"http://{host}:{reader.port}/mcp"
        assert reader.status(host=host, key=key) == 200
        assert reader.status(host=host) == 401
        assert reader.status(host="elsewhere.example.com", key=key) == 421
        return
    else:
        assert json.dumps(reader.json(block)) in reader.log, "the server prints another configuration"
        server = entry["url"]
    async with Client(server) as client:
        assert "add_note" in [tool.name for tool in (await client.list_tools()).tools]


def said_by(reader: Reader, words: str) -> str:
    """What the one command printed that has these words."""
    (said,) = [said for command, said in reader.said.items() if words in command]
    return said


@pytest.mark.anyio
@pytest.mark.timeout(300)  # it does what a dozen blocks say, beside other tests
async def test_every_block_works_in_the_order_it_is_read(reader: Reader) -> None:
    for block in blocks(README):
        if block.kind == "json":
            await connect(reader, block)
            continue
        reader.follow(block)
        if "keys create alice" in block.text:
            key, _, pair = said_by(reader, "keys create alice").partition("Add its hash")
            reader.words["ALICE_KEY"] = re.findall(r"mek_\S+", key)[0]
            reader.words["ALICE_HASH"] = re.findall(r"MCP_KEYS=alice:(\S+)", pair)[0]
        elif "token_urlsafe" in block.text:
            reader.words["THE_SECRET"] = said_by(reader, "token_urlsafe").strip().removeprefix("MCP_SECRET_KEYS=")
    listed = json.loads(said_by(reader, "--method tools/list"))["tools"]
    assert {"whoami", "add_note", "delete_note"} <= {tool["name"] for tool in listed}
    assert "'title': 'Milk'" in said_by(reader, "call_tool")
    called = json.loads(said_by(reader, "--tool-name set_preference"))["structuredContent"]
    assert called == {"user": "Local user", "preferences": {"language": "French"}}


def test_every_block_says_what_it_is_and_every_command_can_be_tried() -> None:
    kinds = {block.place: block.kind for block in blocks(README)}
    assert set(kinds.values()) <= {"sh", "console", "python", "json", "diff"}, kinds
    assert [block.place for block in blocks(README) if block.why_not_run] == []
