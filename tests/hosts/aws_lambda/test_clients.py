"""Today's clients behind a Function URL, buffered and streamed: they call, hear progress, and are asked questions."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.clients.python_client import MODERN, launched
from tests.clients.test_typescript_client import ANSWERED, COUNTED, SCRIPTS, found
from tests.support.function_url import FunctionUrl
from tests.support.node import node_command, node_env

from .conftest import Lambda

pytestmark = [
    pytest.mark.anyio,
    # What 2026-07-28 deprecates is what the older clients still use.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

APP = "tests.clients.server:create_server"
EVERY = [MODERN, "2025-11-25", "2025-06-18", "2025-03-26"]
ASKED = ["Really delete?", "sampling", "roots"]


@pytest.fixture(scope="module", params=["buffered", "streamed"])
def front(function: Lambda, request: pytest.FixtureRequest) -> FunctionUrl:
    """The server that all clients are driven against, in each mode."""
    return function.deploy(request.param, app=APP, timeout_s=12)


@pytest.mark.parametrize("version", EVERY)
async def test_the_python_client_calls_and_hears_progress(front: FunctionUrl, version: str) -> None:
    async with launched(f"{front.url}/mcp", version) as peer:
        assert await peer.call("echo", text="hi") == "hi"
        assert await peer.call("count", to=3, pace_s=0.05) == "3"
        assert peer.told.progress == [(1, 3, "at 1"), (2, 3, "at 2"), (3, 3, "at 3")]
        assert peer.told.changes == []
    assert front.errors == []


@pytest.mark.parametrize("version", EVERY[:3])
async def test_the_python_client_is_asked_and_gets_its_answer(front: FunctionUrl, version: str) -> None:
    async with launched(f"{front.url}/mcp", version) as peer:
        assert await peer.call("confirm", action="delete") == "delete: True"
        assert await peer.call("sample", topic="rain") == "rain: a line"
        assert await peer.call("roots") == "file:///srv"
        assert peer.told.asked == ASKED
    assert front.errors == []


@pytest.mark.parametrize(("script", "era"), [("v1.mjs", "http"), ("v2.mjs", "http"), ("v2.mjs", "modern")])
def test_the_typescript_clients_call_hear_progress_and_are_asked(front: FunctionUrl, script: str, era: str) -> None:
    done = subprocess.run(
        [*node_command(), str(SCRIPTS / script), front.url, era, "brief"],
        env=node_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    steps: list[Any] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step":')]
    assert steps == [*found(), COUNTED, *ANSWERED, {"step": "asked", "asked": ASKED}], done.stdout
    assert (done.returncode, front.errors) == (0, []), done.stdout
