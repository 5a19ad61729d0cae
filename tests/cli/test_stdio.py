"""`serve --stdio`: a client launches the server and speaks on its standard streams, in either era."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from subprocess import PIPE, Popen

import anyio
import mcp_types as t
import pytest
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.cli.command import PREFIX, clean_env

ROOT = Path(__file__).resolve().parents[2]
ARGS = ["serve", "--stdio", "--app", "tests.cli.waiting_server:create_server", "--store", "memory:"]
SERVER = StdioServerParameters(command=PREFIX[0], args=[*PREFIX[1:], *ARGS], env=clean_env(), cwd=ROOT)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_handshake_client_calls_and_hears_of_changes() -> None:
    heard: list[str] = []
    both = anyio.Event()

    async def on_message(message: object) -> None:
        if isinstance(message, t.ToolListChangedNotification | t.ResourceUpdatedNotification):
            heard.append(message.method)
            if len(heard) == 2:
                both.set()

    async with (
        stdio_client(SERVER) as (incoming, outgoing),
        ClientSession(incoming, outgoing, message_handler=on_message) as client,
    ):
        await client.initialize()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK deprecates what 2026-07-28 has removed
            await client.subscribe_resource("notes://1")  # pyright: ignore[reportDeprecated]  # as older clients do
        result = await client.call_tool("change", {})
        with anyio.fail_after(10):
            await both.wait()
    assert result.content == [t.TextContent(type="text", text="local")]
    assert heard == ["notifications/tools/list_changed", "notifications/resources/updated"]


@pytest.mark.anyio
async def test_a_client_of_2026_calls_and_listens() -> None:
    async with Client(stdio_client(SERVER)) as client, client.listen(tools_list_changed=True) as events:
        assert client.protocol_version == "2026-07-28"
        result = await client.call_tool("change", {})
        assert not result.is_error
        with anyio.fail_after(10):
            assert type(await anext(aiter(events))).__name__ == "ToolsListChanged"


def test_standard_output_carries_nothing_but_the_protocol() -> None:
    opening: dict[str, object] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"},
    }
    messages: list[dict[str, object]] = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "change", "arguments": {}}},
    ]
    process = Popen(
        [*PREFIX, *ARGS],
        cwd=ROOT,
        env=clean_env(),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write("".join(json.dumps(m) + "\n" for m in messages))
    process.stdin.flush()
    lines: list[str] = []
    while not lines or json.loads(lines[-1]).get("id") != 2:
        lines.append(process.stdout.readline())
    rest, errors = process.communicate(timeout=20)  # closes its input, which ends it
    assert rest == ""
    assert "careless" in errors
    assert process.returncode == 0
