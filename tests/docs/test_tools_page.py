"""`docs/tools.md`: its Python blocks are one server; official clients find on each wire what the page says."""

from __future__ import annotations

import math
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext, IncomingMessage, MessageHandlerFnT
from mcp.client.sse import sse_client
from mcp_types import (
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    PromptReference,
    ResourceListChangedNotification,
    ResourceTemplateReference,
    TextContent,
)

from mcp_edge.records.keys import CORE
from mcp_edge.settings import Settings
from tests.docs.pages import blocks
from tests.support.fleet import Fleet
from tests.support.root import ROOT

MODERN, HANDSHAKE, HTTP_SSE = "2026-07-28", "2025-11-25", "sse"
RUN_S = 120
"""No test of this page runs for longer, so no record can be older."""
WIRES = [MODERN, HANDSHAKE, HTTP_SSE]
CODE = "\n\n".join(block.text for block in blocks(ROOT / "docs" / "tools.md") if block.kind == "python")
"""The page as one module: it makes `server` and adds its tools."""
_CONSTRUCTOR = """

def create_server(settings: object) -> MCPServer:
    return server
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "mcp.db"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Fleet]:
    """Two processes that serve the page."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.py").write_text(CODE + _CONSTRUCTOR, encoding="utf-8")
    path = f"{ROOT / 'src'}:{ROOT}:{folder}"
    env = {"PYTHONPATH": path, "MCP_LOG_LEVEL": "error", "MCP_UPSTREAM_URL": "http://127.0.0.1:1"}
    with Fleet(
        app="page:create_server", store=f"sqlite:{store}", env={**env, "MCP_UPSTREAM_TOKEN": "token"}
    ) as running:
        yield running


async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """What the user says."""
    content: dict[str, Any] = {"sure": True} if "Cancel" in params.message else {"name": "Fjords"}
    return ElicitResult(action="accept", content=content)


@asynccontextmanager
async def client(fleet: Fleet, wire: str, on_message: MessageHandlerFnT | None = None) -> AsyncGenerator[Client]:
    """The official client on a wire."""
    server: Any = sse_client(f"{fleet.url}/sse") if wire == HTTP_SSE else f"{fleet.url}/mcp"
    mode = MODERN if wire == MODERN else "legacy"
    async with Client(
        server, mode=mode, elicitation_callback=answer, message_handler=on_message, read_timeout_seconds=20
    ) as connected:
        yield connected


def text(result: CallToolResult, *, failed: bool = False) -> str:
    """The text of a result."""
    assert result.is_error is failed, result.content
    return " ".join(block.text for block in result.content if isinstance(block, TextContent))


def test_the_code_of_the_page_passes_the_type_checker_of_make_check(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(f"# pyright: strict\n{CODE}", encoding="utf-8")
    checker = [sys.executable, "-m", "pyright", str(tmp_path / "page.py")]
    done = subprocess.run(checker, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_arguments_are_checked_and_results_are_structured(fleet: Fleet, wire: str) -> None:
    async with client(fleet, wire) as c:
        planned = await c.call_tool("plan_trip", {"city": "Oslo", "leaving": "2026-05-01"})
        assert planned.structured_content == {"city": "Oslo", "nights": 2, "leaving": "2026-05-01"}
        refused = text(await c.call_tool("plan_trip", {"city": "", "leaving": "2026-05-01"}), failed=True)
        assert "at least 1 character" in refused
        (tool,) = [tool for tool in (await c.list_tools()).tools if tool.name == "plan_trip"]
        assert tool.description == "Plan a trip to a city."
        assert tool.input_schema["properties"]["city"]["description"] == "Where to."
        assert tool.output_schema is not None


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_records_of_the_user_are_there_on_every_instance(fleet: Fleet, wire: str) -> None:
    async with client(fleet, wire) as c:
        assert text(await c.call_tool("set_home", {"city": wire})) == f"Local user lives in {wire}."
        assert [text(await c.call_tool("where_is_home")) for _ in range(2)] == [wire] * 2
        seen = await c.call_tool("cities_seen", {"city": "Ulm"})
        assert seen.structured_content == {"result": ["Ulm"]}


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_resolve_asks_on_every_wire(fleet: Fleet, wire: str) -> None:
    async with client(fleet, wire) as c:
        assert text(await c.call_tool("cancel_trip", {"city": "Oslo"})) == "The trip to Oslo is cancelled."


@pytest.mark.anyio
@pytest.mark.parametrize("wire", [HANDSHAKE, HTTP_SSE])
async def test_a_question_in_the_middle_of_a_call_is_held_on_the_handshake_wires(fleet: Fleet, wire: str) -> None:
    async with client(fleet, wire) as c:
        assert text(await c.call_tool("rename_trip", {"city": "Oslo"})) == "Renamed to Fjords."


@pytest.mark.anyio
async def test_a_question_in_the_middle_of_a_call_names_the_other_way_on_the_newest_wire(fleet: Fleet) -> None:
    async with client(fleet, MODERN) as c:
        with pytest.raises(MCPError, match="Resolve"):
            await c.call_tool("rename_trip", {"city": "Oslo"})


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_progress_and_changes_arrive(fleet: Fleet, wire: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    changed = anyio.Event()

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, ResourceListChangedNotification):
            changed.set()

    async with client(fleet, wire, on_message) as c:
        visited = await c.call_tool("visit_all", {"cities": ["Ulm", "Bern"]}, progress_callback=on_progress)
        assert text(visited) == "Visited 2 cities."
        assert told == [(1, 2, "Ulm"), (2, 2, "Bern")]
        await c.call_tool("publish_guide", {"city": "Ulm", "text": f"The minster, on {wire}."})
        read = await c.read_resource("guide://Ulm")
        assert f"The minster, on {wire}." in str(read.contents)
        if wire == HTTP_SSE:  # its one stream is there from the start; also, the client may not leave in mid-message
            with anyio.fail_after(20):
                await changed.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_a_prompt_is_got_and_its_argument_and_that_of_a_template_are_completed(fleet: Fleet, wire: str) -> None:
    async with client(fleet, wire) as c:
        (message,) = (await c.get_prompt("pack", {"city": "Ulm"})).messages
        assert isinstance(message.content, TextContent)
        assert message.content.text == "What should I pack for Ulm? Look at guide://Ulm first."
        for ref in (PromptReference(name="pack"), ResourceTemplateReference(uri="guide://{city}")):
            suggested = await c.complete(ref, {"name": "city", "value": "U"})
            assert suggested.completion.values == ["Ulm", "Utrecht"]


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_an_error_says_what_may_be_said(fleet: Fleet, wire: str) -> None:
    async with client(fleet, wire) as c:
        assert "There is no such train." in text(await c.call_tool("board", {"train": "12"}), failed=True)
        assert "could not be reached" in text(await c.call_tool("weather", {"city": "Ulm"}), failed=True)
        with pytest.raises(MCPError, match="Unknown tool"):
            await c.call_tool("nowhere")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "x",
    ],
)
async def test_a_url_of_a_users_leads_to_nothing_that_is_not_public(fleet: Fleet, url: str) -> None:
    async with client(fleet, HANDSHAKE) as c:
        assert "This page cannot be had." in text(await c.call_tool("size_of", {"url": url}), failed=True)


@pytest.mark.anyio
async def test_a_bug_tells_the_client_the_name_of_the_tool_alone() -> None:
    page: dict[str, Any] = {}
    # Not in the fleet: its processes may not log a traceback, and this has to.
    exec(compile(CODE, "tools.md", "exec", dont_inherit=True), page)

    async def broken() -> str:
        raise LookupError("a detail that nobody outside should read")

    page["server"].add_tool(broken)
    async with Client(page["server"]) as c:
        assert text(await c.call_tool("broken"), failed=True) == "Error executing tool broken"


@pytest.mark.anyio
async def test_every_key_in_the_store_is_in_the_table_of_records_with_its_life(fleet: Fleet, store: Path) -> None:
    for wire in WIRES:
        async with client(fleet, wire) as c:
            await c.call_tool("cancel_trip", {"city": "Oslo"})
    async with client(fleet, MODERN) as c:
        await c.call_tool("publish_guide", {"city": "Ulm", "text": "Nothing new."})
    with closing(sqlite3.connect(store)) as db:
        rows = db.execute("SELECT key, expires_at FROM records UNION SELECT key, expires_at FROM atomics").fetchall()
    lives = dict(documented_lives())
    assert {"session", "stream", "answer", "user", "changes", "door"} <= {prefix(key) for key, _ in rows}
    for key, expires_at in rows:
        assert prefix(key) in lives, f"{key} is not in the table"
        shortest_s, longest_s = lives[prefix(key)]
        left_s = math.inf if expires_at is None else expires_at - time.time()
        assert shortest_s - RUN_S <= left_s <= longest_s, f"{key} has another life"


def prefix(key: str) -> str:
    """The first part of a key."""
    return key.partition("/")[0]


def documented_lives() -> Iterator[tuple[str, tuple[float, float]]]:
    """The first part of each documented key with its shortest and longest life in seconds, at the default settings."""
    units = {"s": 1, "minutes": 60, "h": 3600, "days": 86400}
    for name, life in [(prefix(row.keys[0]), row.life) for row in CORE]:
        options = [Settings.model_fields[name.lower()].default for name in re.findall(r"`MCP_(\w+)`", life)]
        times = [float(number) * units[unit] for number, unit in re.findall(r"(\d+) (\w+)", life)]
        if life.startswith("as its "):  # another record's life, or one whose first part is that of a record above
            continue
        if life in ("no end", "as the tool says"):
            yield name, (math.inf if life == "no end" else 0, math.inf)
        else:
            yield name, (sum(options + times), sum(options + times))


@pytest.mark.anyio
async def test_the_path_of_one_s_own_answers_without_a_credential(fleet: Fleet) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{fleet.url}/hooks/timetable", content="Ulm, platform 2")
        missed = await http.get(f"{fleet.url}/hooks/timetable")

    assert (answer.status_code, answer.text) == (200, "Noted: Ulm, platform 2")
    assert missed.status_code == 405
