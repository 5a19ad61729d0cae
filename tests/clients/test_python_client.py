"""The official Python client, in each era and on HTTP+SSE, before two processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import anyio
import httpx2
import pytest
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, ToolsListChanged
from mcp_types import TextContent, TextResourceContents

from tests.clients.python_client import HTTP_SSE, MODERN, Peer, connected, launched, until
from tests.clients.server import GREETING
from tests.support.fleet import Fleet

pytestmark = [
    pytest.mark.anyio,
    # What 2026-07-28 deprecates is what the older clients still use.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

STREAMABLE = ["2025-11-25", "2025-06-18", "2025-03-26"]
HANDSHAKE = [*STREAMABLE, HTTP_SSE]
EVERY = [MODERN, *HANDSHAKE]
ELICITING = [MODERN, "2025-11-25", "2025-06-18"]
"""Elicitation came with 2025-06-18: on older versions this client refuses it, though it says it can."""


async def test_left_to_itself_it_takes_the_newest_version_of_each_wire(fleet: Fleet) -> None:
    async with launched(f"{fleet.url}/mcp", MODERN, mode="auto") as peer:
        assert await peer.call("echo", text="hi") == "hi"
    async with launched(sse_client(f"{fleet.url}/sse"), STREAMABLE[0], mode="auto") as peer:
        assert await peer.call("echo", text="hi") == "hi"


@pytest.mark.parametrize("version", EVERY)
async def test_it_finds_everything_the_server_offers(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        client = peer.client
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == [
            *("echo", "pid", "ask", "confirm", "sample", "roots", "count", "slow", "fate", "wait", "release"),
            *("drop_stream", "change", "touch"),
        ]
        assert [str(found.uri) for found in (await client.list_resources()).resources] == [GREETING]
        templates = (await client.list_resource_templates()).resource_templates
        assert [found.uri_template for found in templates] == ["clients://notes/{number}"]
        assert [found.name for found in (await client.list_prompts()).prompts] == ["greet"]


@pytest.mark.parametrize("version", EVERY)
async def test_it_reads_and_is_prompted(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        (greeting,) = (await peer.client.read_resource(GREETING)).contents
        (note,) = (await peer.client.read_resource("clients://notes/7")).contents
        (message,) = (await peer.client.get_prompt("greet", {"name": "Ada"})).messages
        assert isinstance(greeting, TextResourceContents)
        assert isinstance(note, TextResourceContents)
        assert isinstance(message.content, TextContent)
        assert (greeting.text, note.text, message.content.text) == ("hello", "note 7", "Say hello to Ada.")


@pytest.mark.parametrize("version", [MODERN, *STREAMABLE])
async def test_consecutive_calls_reach_different_processes(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        if version != MODERN:
            await peer.listening()
        await peer.client.list_tools()  # which it would do by itself after the first call, to know the output's schema
        first, second, third = [await peer.call("pid") for _ in range(3)]
        assert first == third != second


@pytest.mark.parametrize("version", EVERY)
async def test_it_is_told_progress_and_log_messages_in_order(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        if version != MODERN:
            await peer.client.set_logging_level("info")  # pyright: ignore[reportDeprecated]  # the handshake way
        assert await peer.call("count", to=3, pace_s=0.05) == "3"
        await until(lambda: len(peer.told.logs) == 3)
        assert peer.told.logs == ["counted 1", "counted 2", "counted 3"]
        assert peer.told.progress == [(1, 3, "at 1"), (2, 3, "at 2"), (3, 3, "at 3")]


@pytest.mark.parametrize("version", HANDSHAKE)
async def test_a_log_level_set_on_one_process_holds_on_the_other(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        await peer.client.set_logging_level("warning")  # pyright: ignore[reportDeprecated]  # the handshake way
        for _ in range(2):
            assert await peer.call("count", to=1, pace_s=0) == "1"
        assert peer.told.logs == []


@pytest.mark.parametrize("version", ELICITING[1:])
async def test_it_is_asked_in_the_middle_of_a_call(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        assert await peer.call("ask") == "accept Oslo"
        assert peer.told.asked == ["Which city?"]


async def test_asking_in_the_middle_of_a_modern_call_fails_at_once(fleet: Fleet) -> None:
    async with connected(fleet, MODERN) as peer:
        with pytest.raises(MCPError, match="elicitation/create"):
            await peer.client.call_tool("ask")
        assert peer.told.asked == []


@pytest.mark.parametrize("version", ELICITING)
async def test_it_answers_what_a_tool_asks_beforehand(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        assert await peer.call("confirm", action="delete") == "delete: True"
        assert peer.told.asked == ["Really delete?"]


@pytest.mark.parametrize("version", EVERY)
async def test_its_model_writes_for_the_server(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        assert await peer.call("sample", topic="rain") == "rain: a line"
        assert peer.told.asked == ["sampling"]


@pytest.mark.parametrize("version", EVERY)
async def test_it_shows_its_roots(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer:
        assert await peer.call("roots") == "file:///srv"
        assert peer.told.asked == ["roots"]


@pytest.mark.parametrize("version", EVERY)
async def test_a_cancelled_call_stops_on_whatever_process_it_runs(fleet: Fleet, version: str) -> None:
    token = uuid4().hex
    async with connected(fleet, version) as peer:
        async with anyio.create_task_group() as calls:
            calls.start_soon(partial(peer.call, "slow", token=token))
            await until(lambda: len(peer.told.progress) == 1)
            calls.cancel_scope.cancel()
        await _becomes(peer, token, "cancelled")
        if version in STREAMABLE:
            # The stream has ended without an answer: the client comes back until it is told that there is none.
            await until(lambda: any(seen.resumes and seen.status == 405 for seen in peer.passed))
        assert await peer.call("echo", text="still here") == "still here"


async def test_a_stream_that_the_server_ends_is_resumed(fleet: Fleet) -> None:
    async with connected(fleet, "2025-11-25") as peer:
        assert await peer.call("drop_stream") == "resumed"
        assert peer.told.progress == [(1, 2, "before"), (2, 2, "after")]
        assert [seen.status for seen in peer.passed if seen.resumes] == [200]


@pytest.mark.parametrize("version", STREAMABLE)
async def test_a_connection_lost_in_a_call_is_resumed_on_the_other_process(fleet: Fleet, version: str) -> None:
    token = uuid4().hex
    answers: list[str] = []
    async with connected(fleet, version) as peer, connected(fleet, MODERN) as other:
        assert fleet.proxy is not None
        await peer.listening()

        async def wait() -> None:
            answers.append(await peer.call("wait", token=token))

        async with anyio.create_task_group() as calls:
            calls.start_soon(wait)
            await until(lambda: len(peer.told.progress) == 1)
            assert fleet.proxy.cut("POST") == 1
            await until(lambda: any(seen.resumes and seen.status == 200 for seen in peer.passed))
            await other.call("release", token=token)
        (get,) = [seen for seen in peer.passed if seen.resumes]
        post = peer.passed[peer.passed.index(get) - 1]
        assert (post.method, get.method) == ("POST", "GET")
        assert post.port != get.port
        assert answers == [str(_pid(fleet, post.port))]
        assert peer.told.progress == [(1, 2, "waiting"), (2, 2, "released")]


async def test_a_modern_call_whose_connection_is_lost_stops_and_may_be_made_again(fleet: Fleet) -> None:
    token = uuid4().hex
    failures: list[MCPError] = []
    async with connected(fleet, MODERN) as peer:
        assert fleet.proxy is not None

        async def call() -> None:
            with pytest.raises(MCPError) as failure:
                await peer.call("slow", token=token)
            failures.append(failure.value)

        async with anyio.create_task_group() as calls:
            calls.start_soon(call)
            await until(lambda: len(peer.told.progress) == 1)
            assert fleet.proxy.cut("POST") == 1
        assert [failure.message for failure in failures] == ["SSE stream ended without a response"]
        await _becomes(peer, token, "cancelled")


async def test_an_http_sse_client_that_lost_its_stream_connects_again(fleet: Fleet) -> None:
    token = uuid4().hex
    async with connected(fleet, HTTP_SSE) as peer:
        assert fleet.proxy is not None

        async def call() -> None:
            with pytest.raises(MCPError):
                await peer.call("wait", token=token)

        async with anyio.create_task_group() as calls:
            calls.start_soon(call)
            await until(lambda: len(peer.told.progress) == 1)
            assert fleet.proxy.cut("GET") == 1
    async with connected(fleet, HTTP_SSE) as peer:
        assert await peer.call("echo", text="again") == "again"
        await peer.call("release", token=token)  # the lost call itself goes on, for a client that comes back to it


@pytest.mark.parametrize("version", EVERY)
async def test_a_list_changed_on_either_process_is_heard(fleet: Fleet, version: str) -> None:
    # On HTTP+SSE all calls run where the stream is held: only another wire reaches both processes.
    wire = MODERN if version == HTTP_SSE else version
    async with connected(fleet, version) as peer, connected(fleet, wire) as other, _hearing(peer) as heard:
        pids: set[str] = set()
        for count in range(1, 7):
            pids.add(await other.call("change", what="tools"))
            await until(lambda count=count: heard == [ToolsListChanged()] * count)
            if len(pids) == 2:
                break
        assert pids == {str(fleet.pid(i)) for i in range(len(fleet.ports))}


async def test_a_change_made_while_its_stream_was_lost_is_heard_afterwards(fleet: Fleet) -> None:
    async with connected(fleet, "2025-11-25") as peer, connected(fleet, MODERN) as other, _hearing(peer) as heard:
        assert fleet.proxy is not None
        assert fleet.proxy.cut("GET") == 1
        await other.call("change", what="tools")
        await until(lambda: heard == [ToolsListChanged()])
        (lost, resumed) = [seen for seen in peer.passed if seen.method == "GET"]
        assert (lost.resumes, resumed.resumes) == (False, True)


@pytest.mark.parametrize("version", EVERY)
async def test_an_update_of_a_subscribed_resource_is_heard(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer, connected(fleet, version) as other, _hearing(peer, GREETING) as heard:
        for count in (1, 2):
            await other.call("touch", uri="clients://notes/1")
            await other.call("touch", uri=GREETING)
            await until(lambda count=count: heard == [ResourceUpdated(uri=GREETING)] * count)


@pytest.mark.parametrize("version", HANDSHAKE)
async def test_nothing_is_heard_after_unsubscribing(fleet: Fleet, version: str) -> None:
    async with connected(fleet, version) as peer, _hearing(peer, GREETING) as heard:
        await peer.client.unsubscribe_resource(GREETING)  # pyright: ignore[reportDeprecated]  # the handshake way
        await peer.call("touch", uri=GREETING)
        await peer.call("change", what="tools")
        await until(lambda: heard != [])
        assert heard == [ToolsListChanged()]


@pytest.mark.parametrize("version", STREAMABLE)
async def test_a_session_that_it_closed_is_gone_on_every_process(fleet: Fleet, version: str) -> None:
    sessions: list[str] = []

    async def note(request: httpx2.Request) -> None:
        sessions.append(request.headers.get("mcp-session-id", ""))

    url = f"{fleet.url}/mcp"
    async with httpx2.AsyncClient(event_hooks={"request": [note]}, timeout=10) as http:
        async with launched(streamable_http_client(url, http_client=http), version) as peer:
            assert await peer.call("echo", text="hi") == "hi"
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {"mcp-session-id": sessions[-1], "accept": "application/json, text/event-stream"}
        answers = [await http.post(url, json=ping, headers=headers) for _ in fleet.ports]
    assert [answer.status_code for answer in answers] == [404, 404]


async def _becomes(peer: Peer, token: str, fate: str) -> None:
    """Return once the record of `slow` says `fate`."""
    with anyio.fail_after(10):
        while await peer.call("fate", token=token) != fate:
            await anyio.sleep(0.02)


def _pid(fleet: Fleet, port: int) -> int:
    return fleet.pid(fleet.ports.index(port))


@asynccontextmanager
async def _hearing(peer: Peer, *uris: str) -> AsyncGenerator[list[ServerEvent]]:
    """What the client hears of changes, in the way of its era, while the context is open."""
    heard: list[ServerEvent] = []
    if peer.client.protocol_version != MODERN:
        await peer.listening()
        for uri in uris:
            await peer.client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]  # the handshake way
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_copy_notifications, peer, heard)
            yield heard
            tasks.cancel_scope.cancel()
        return
    async with (
        peer.client.listen(tools_list_changed=True, resource_subscriptions=uris) as subscription,
        anyio.create_task_group() as tasks,
    ):

        async def listen() -> None:
            async for event in subscription:
                heard.append(event)

        tasks.start_soon(listen)
        yield heard
        tasks.cancel_scope.cancel()


async def _copy_notifications(peer: Peer, heard: list[ServerEvent]) -> None:
    while True:
        await until(lambda: len(peer.told.changes) > len(heard))
        change = peer.told.changes[len(heard)]
        heard.append(ToolsListChanged() if change.endswith("tools/list_changed") else ResourceUpdated(uri=change))
