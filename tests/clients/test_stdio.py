"""A client that launches the server itself: `mcp-edge serve --stdio`, in each era."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.subscriptions import ToolsListChanged

from tests.clients.conftest import APP
from tests.clients.python_client import MODERN, Peer, launched, until
from tests.clients.server import GREETING
from tests.support.root import ROOT

pytestmark = [
    pytest.mark.anyio,
    # What 2026-07-28 deprecates is what the older clients still use.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

EVERY = [MODERN, "2025-11-25", "2025-06-18", "2025-03-26"]
LATEST = [MODERN, "2025-11-25"]


@asynccontextmanager
async def serving(version: str, tmp_path: Path) -> AsyncGenerator[Peer]:
    """The official client and the server that it started."""
    server = StdioServerParameters(
        command=sys.executable,
        args=[
            "-m",
            "mcp_edge.hosts.cli",
            "serve",
            "--stdio",
            "--app",
            APP,
            "--store",
            f"sqlite:{tmp_path / 'stdio.db'}",
        ],
        env={"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        cwd=ROOT,
    )
    log = tmp_path / "server.log"
    with log.open("w") as errors:
        async with launched(stdio_client(server, errlog=errors), version) as peer:
            yield peer
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("version", EVERY)
async def test_it_lists_reads_and_calls(version: str, tmp_path: Path) -> None:
    async with serving(version, tmp_path) as peer:
        assert "echo" in [tool.name for tool in (await peer.client.list_tools()).tools]
        assert [str(found.uri) for found in (await peer.client.list_resources()).resources] == [GREETING]
        assert [found.name for found in (await peer.client.list_prompts()).prompts] == ["greet"]
        assert await peer.call("echo", text="hi") == "hi"


@pytest.mark.parametrize("version", LATEST)
async def test_it_is_told_progress_and_answers_what_is_asked(version: str, tmp_path: Path) -> None:
    async with serving(version, tmp_path) as peer:
        assert await peer.call("count", to=2, pace_s=0) == "2"
        assert peer.told.progress == [(1, 2, "at 1"), (2, 2, "at 2")]
        assert await peer.call("confirm", action="delete") == "delete: True"
        assert await peer.call("sample", topic="rain") == "rain: a line"
        assert peer.told.asked == ["Really delete?", "sampling"]


async def test_it_is_asked_in_the_middle_of_a_call(tmp_path: Path) -> None:
    async with serving("2025-11-25", tmp_path) as peer:
        assert await peer.call("ask") == "accept Oslo"
        assert peer.told.asked == ["Which city?"]


@pytest.mark.parametrize("version", LATEST)
async def test_a_cancelled_call_stops(version: str, tmp_path: Path) -> None:
    token = uuid4().hex
    async with serving(version, tmp_path) as peer:

        async def slow() -> None:
            await peer.call("slow", token=token)

        async with anyio.create_task_group() as calls:
            calls.start_soon(slow)
            await until(lambda: len(peer.told.progress) == 1)
            calls.cancel_scope.cancel()
        with anyio.fail_after(10):
            while await peer.call("fate", token=token) != "cancelled":
                await anyio.sleep(0.02)


async def test_it_hears_of_a_changed_list(tmp_path: Path) -> None:
    async with serving("2025-11-25", tmp_path) as peer:
        await peer.call("change", what="tools")
        await until(lambda: peer.told.changes == ["notifications/tools/list_changed"])


async def test_it_hears_of_a_changed_list_that_it_listens_to(tmp_path: Path) -> None:
    async with serving(MODERN, tmp_path) as peer, peer.client.listen(tools_list_changed=True) as heard:
        await peer.call("change", what="tools")
        with anyio.fail_after(10):
            assert await anext(aiter(heard)) == ToolsListChanged()
