"""mcp-remote: a client that only speaks stdio reaches the two processes through the bridge, on either transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

import anyio
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.clients.python_client import MODERN, Peer, connected, launched, until
from tests.clients.server import GREETING
from tests.support.fleet import Fleet
from tests.support.node import bin_path, node_command, node_env

pytestmark = [
    pytest.mark.anyio,
    # What 2026-07-28 deprecates is what the older clients still use.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

HANDSHAKE = "2025-11-25"
PATHS = {"http-only": "/mcp", "sse-only": "/sse"}


@pytest.fixture
def errors(tmp_path: Path) -> Iterator[TextIO]:
    """Where the bridge's own log goes."""
    with (tmp_path / "bridge.log").open("w") as log:
        yield log


@asynccontextmanager
async def bridged(
    fleet: Fleet, transport: str, version: str, tmp_path: Path, errors: TextIO, *, mode: str = ""
) -> AsyncGenerator[Peer]:
    """The official client on stdio, with the bridge as its server."""
    assert fleet.proxy is not None
    since = len(fleet.proxy.exchanges)
    home = tmp_path / "home"
    home.mkdir()
    bridge = StdioServerParameters(
        command=node_command()[0],
        args=[bin_path("mcp-remote"), fleet.url + PATHS[transport], "--allow-http", "--transport", transport],
        env={**node_env(), "HOME": str(home), "MCP_REMOTE_CONFIG_DIR": str(tmp_path / "config")},
    )
    async with launched(stdio_client(bridge, errlog=errors), version, mode=mode) as peer:
        yield Peer(peer.client, peer.told, fleet.proxy, since)
    assert list(home.iterdir()) == []


async def _listening(peer: Peer) -> None:
    """Return once the client's standalone stream is open.

    The bridge first tries the server with a session of its own, which it leaves behind, stream and all.
    """

    def is_open() -> bool:
        passed = peer.passed
        opened = [place for place, seen in enumerate(passed) if seen.status == 202]
        return len(opened) > 1 and any(seen.method == "GET" and seen.status == 200 for seen in passed[opened[1] :])

    await until(is_open)


@pytest.mark.parametrize(
    ("transport", "version"), [("http-only", MODERN), ("http-only", HANDSHAKE), ("sse-only", HANDSHAKE)]
)
async def test_through_the_bridge_it_lists_and_calls_and_answers_what_is_asked(
    fleet: Fleet, transport: str, version: str, tmp_path: Path, errors: TextIO
) -> None:
    async with bridged(fleet, transport, version, tmp_path, errors) as peer:
        assert "echo" in [tool.name for tool in (await peer.client.list_tools()).tools]
        assert [str(found.uri) for found in (await peer.client.list_resources()).resources] == [GREETING]
        assert await peer.call("echo", text="hi") == "hi"
        assert await peer.call("confirm", action="delete") == "delete: True"
        assert await peer.call("sample", topic="rain") == "rain: a line"
        assert await peer.call("roots") == "file:///srv"
        assert peer.told.asked == ["Really delete?", "sampling", "roots"]
        assert await peer.call("count", to=2, pace_s=0.05) == "2"
        assert peer.told.progress == [(1, 2, "at 1"), (2, 2, "at 2")]


@pytest.mark.parametrize(("transport", "version"), [("http-only", MODERN), ("sse-only", HANDSHAKE)])
async def test_through_the_bridge_a_client_left_to_itself_takes_the_newest_version(
    fleet: Fleet, transport: str, version: str, tmp_path: Path, errors: TextIO
) -> None:
    async with bridged(fleet, transport, version, tmp_path, errors, mode="auto") as peer:
        assert await peer.call("echo", text="hi") == "hi"


@pytest.mark.parametrize("transport", PATHS)
async def test_through_the_bridge_it_is_asked_in_the_middle_of_a_call(
    fleet: Fleet, transport: str, tmp_path: Path, errors: TextIO
) -> None:
    async with bridged(fleet, transport, HANDSHAKE, tmp_path, errors) as peer:
        assert await peer.call("ask") == "accept Oslo"
        assert peer.told.asked == ["Which city?"]


async def test_the_bridge_resumes_a_call_whose_connection_is_lost(fleet: Fleet, tmp_path: Path, errors: TextIO) -> None:
    token = uuid4().hex
    answers: list[str] = []
    async with bridged(fleet, "http-only", HANDSHAKE, tmp_path, errors) as peer, connected(fleet, MODERN) as other:
        assert fleet.proxy is not None
        await _listening(peer)

        async def wait() -> None:
            answers.append(await peer.call("wait", token=token))

        async with anyio.create_task_group() as calls:
            calls.start_soon(wait)
            await until(lambda: len(peer.told.progress) == 1)
            assert fleet.proxy.cut("POST") == 1
            await until(lambda: any(seen.resumes and seen.status == 200 for seen in peer.passed))
            await other.call("release", token=token)
        assert answers != []
        assert peer.told.progress == [(1, 2, "waiting"), (2, 2, "released")]


@pytest.mark.parametrize("transport", PATHS)
async def test_the_bridge_passes_on_what_another_client_changed(
    fleet: Fleet, transport: str, tmp_path: Path, errors: TextIO
) -> None:
    async with bridged(fleet, transport, HANDSHAKE, tmp_path, errors) as peer, connected(fleet, MODERN) as other:
        if transport == "http-only":  # on HTTP+SSE its one stream is open from the start
            await _listening(peer)
        for count in (1, 2):
            await other.call("change", what="tools")
            await until(lambda count=count: peer.told.changes == ["notifications/tools/list_changed"] * count)
