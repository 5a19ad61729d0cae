"""`serve --stdio`: a client launches the server and speaks on its standard streams, in either era."""

from __future__ import annotations

import json
import warnings
from subprocess import PIPE, Popen

import anyio
import mcp_types as t
import pytest
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.hosts.cli.command import PREFIX, clean_env
from tests.support.root import ROOT

ARGS = ["serve", "--stdio", "--app", "tests.hosts.cli.waiting_server:create_server", "--store", "memory:"]
SERVER = StdioServerParameters(command=PREFIX[0], args=[*PREFIX[1:], *ARGS], env=clean_env(), cwd=ROOT)


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


def test_a_client_that_sends_too_much_is_answered_shortly_and_served_on() -> None:
    long = "x" * 1_000_000
    opening: dict[str, object] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"},
    }
    asked: list[tuple[str, dict[str, object]]] = [
        ("initialize", opening),
        ("tools/call", {"name": "listed", "arguments": {"tags": [1] * 90_000}}),
        ("tools/call", {"name": "listed", "arguments": {"tags": [1] * 190_000}}),
        ("tools/call", {"name": long}),
        ("resources/read", {"uri": long}),
        ("ping", {"_meta": {"x": [1] * 50_000}}),
        ("resources/subscribe", {"uri": "x" * 3000}),
        ("tools/call", {"name": "listed", "arguments": {"tags": ["a"] * 90_000}}),
    ]
    process = Popen([*PREFIX, *ARGS], cwd=ROOT, env=clean_env(), stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    answers: list[str] = []
    for n, (method, params) in enumerate(asked):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": n, "method": method, "params": params}) + "\n")
        process.stdin.flush()
        answers.append(process.stdout.readline())
        if n == 0:
            process.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    process.communicate(timeout=20)

    assert [json.loads(answer)["id"] for answer in answers] == list(range(len(asked)))
    assert max(map(len, answers)) < 8192
    assert json.loads(answers[1])["result"]["isError"] is True
    assert [json.loads(answer)["error"]["code"] for answer in answers[2:7]] == [-32600, *[-32602] * 4]
    assert json.loads(answers[7])["result"]["content"][0]["text"] == "90000"
