"""MCP Inspector's command line: one process per method, as scripts and people use it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import GREETING
from tests.support.fleet import Fleet
from tests.support.node import bin_path, node_command, node_env

TRANSPORTS = [("http", "legacy"), ("http", "modern"), ("sse", "legacy")]


def inspect(fleet: Fleet, home: Path, transport: tuple[str, str], method: str, *options: str) -> Any:
    """What the Inspector prints for one method."""
    kind, era = transport
    url = fleet.url + ("/sse" if kind == "sse" else "/mcp")
    command = [*node_command(), bin_path("inspector"), "--cli", url, "--transport", kind, "--protocol-era", era]
    env = {**node_env(), "HOME": str(home)}
    done = subprocess.run(
        [*command, "--method", method, *options], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("transport", TRANSPORTS, ids="-".join)
def test_it_lists_and_calls(fleet: Fleet, tmp_path: Path, transport: tuple[str, str]) -> None:
    tools = inspect(fleet, tmp_path, transport, "tools/list")["tools"]
    assert [tool["name"] for tool in tools][:2] == ["echo", "pid"]
    called = inspect(fleet, tmp_path, transport, "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi")
    assert (called["content"], called["structuredContent"]) == ([{"type": "text", "text": "hi"}], {"result": "hi"})
    resources = inspect(fleet, tmp_path, transport, "resources/list")["resources"]
    assert [resource["uri"] for resource in resources] == [GREETING]
    prompts = inspect(fleet, tmp_path, transport, "prompts/list")["prompts"]
    assert [prompt["name"] for prompt in prompts] == ["greet"]
