"""What names no scope on a server that declares some, and scopes of the settings that the server does not declare."""

from __future__ import annotations

import json
import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from pydantic import SecretStr

from mcp_edge import Scope, declare_scopes, requires, requires_no_scope
from mcp_edge.app import App, create_app
from mcp_edge.errors import ConfigurationError
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory
from tests.hosts.cli.command import mcp_edge

pytestmark = pytest.mark.anyio

DIGEST = sha256(b"a key").hexdigest()
READ = Scope("read", "read")
WRITE = Scope("write", "write", implies=("read",))
CLIENT = {"client_id": "app", "redirect_uris": ["https://app.example/callback"]}


def forgetful(settings: Settings) -> MCPServer[Any]:
    """A server that declares scopes, and of each kind of thing has one that needs one, one meant for all, and one of
    which it says nothing."""
    del settings
    server: MCPServer[Any] = MCPServer("forgetful")
    declare_scopes(server, READ, prompts={"scoped_prompt": ("read",), "open_prompt": ()})
    told: dict[str, Any] = {"scoped": requires("read"), "open": requires_no_scope(), "forgotten": None}
    for name, meta in told.items():
        server.add_tool(lambda: None, name=f"{name}_tool", meta=meta)
        server.resource(f"file://{name}", name=f"{name}_resource", meta=meta)(lambda: "x")
        server.resource(f"{name}://{{path}}", name=f"{name}_template", meta=meta)(_template)
        server.prompt(name=f"{name}_prompt")(lambda: "x")
    hints = ToolAnnotations(read_only_hint=True)
    server.add_tool(lambda: None, name="reading_tool", annotations=hints)
    return server


def _template(path: str) -> str:
    return path


def plain(settings: Settings) -> MCPServer[Any]:
    """A server that declares no scopes."""
    del settings
    server: MCPServer[Any] = MCPServer("plain")
    server.add_tool(lambda: None, name="tool")
    return server


def careful(settings: Settings) -> MCPServer[Any]:
    """One that says of each thing what it needs."""
    del settings
    server: MCPServer[Any] = MCPServer("careful")
    declare_scopes(server, READ, WRITE)
    server.add_tool(lambda: None, name="tool", meta=requires("read"))
    server.add_tool(lambda: None, name="open_tool", meta=requires_no_scope())
    return server


def app(create_server: Any, **settings: Any) -> App:
    """The server on memory."""
    told = Settings(secret_keys=(SecretStr("k" * 43),), public_url="https://mcp.example", **settings)
    return create_app(create_server, Platform(told, *open_memory()))


async def warnings(caplog: pytest.LogCaptureFixture, started: App) -> list[str]:
    """What the start warns of."""
    with caplog.at_level(logging.WARNING, "mcp_edge"):
        await started.start()
    await started.stop()
    return caplog.messages


async def test_a_start_names_in_one_line_what_names_no_scope(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = await warnings(caplog, app(forgetful))

    named = line.partition(": ")[2].partition(". Say")[0]
    assert named.split(", ") == [
        "tool forgotten_tool",
        "tool reading_tool",
        "prompt forgotten_prompt",
        "resource forgotten_resource",
        "resource template forgotten_template",
    ]


@pytest.mark.parametrize("create_server", [careful, plain])
async def test_a_start_warns_of_nothing_where_all_is_said_or_no_scope_is_declared(
    create_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert await warnings(caplog, app(create_server)) == []


KEYS: dict[str, Any] = {"auth": "keys", "keys": {"ann": f"{DIGEST}:read wrte"}}
BESIDE: dict[str, Any] = {"auth": "oauth", "keys": {"ben": DIGEST, "ann": f"{DIGEST[::-1]}:wrte"}}
CLIENTS: dict[str, Any] = {"auth": "oauth", "clients": [CLIENT, {**CLIENT, "client_id": "b", "scope": "write wrte"}]}


@pytest.mark.parametrize(
    ("settings", "where"),
    [(KEYS, "MCP_KEYS: entry 1"), (BESIDE, "MCP_KEYS: entry 2"), (CLIENTS, "MCP_CLIENTS: client 2")],
)
async def test_a_scope_of_the_settings_that_is_not_declared_ends_the_start(
    settings: dict[str, Any], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        await app(careful, **settings).start()
    assert str(refusal.value) == (
        f"{where} has the scope wrte, which the server does not declare. It declares read, write."
    )
    good = json.loads(json.dumps(settings).replace("wrte", "write"))
    await warnings(caplog, app(careful, **good))
    told = await warnings(caplog, app(plain, **settings))
    assert any("the server declares none: nothing is limited" in line for line in told)


@pytest.mark.parametrize("unused", [{"auth": "none", "keys": KEYS["keys"]}, {**KEYS, "clients": CLIENTS["clients"]}])
async def test_what_nobody_comes_with_is_not_asked_about(unused: dict[str, Any]) -> None:
    unused = {**unused, "keys": {"ann": f"{DIGEST}:read"}} if unused["auth"] == "keys" else unused
    started = app(careful, **unused)
    await started.start()
    await started.stop()


async def test_a_host_that_starts_at_the_first_request_says_why_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "mcp_edge"):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app(careful, **KEYS)), base_url="https://mcp.example"
        ) as client:
            answer = await client.get("/readyz")
    assert answer.status_code == 500
    assert "wrte" not in answer.text
    (line,) = caplog.messages
    assert line.startswith("this server is not configured: MCP_KEYS: entry 1 has the scope wrte")
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_serve_ends_with_the_exit_code_of_settings_that_cannot_work(tmp_path: Path, workers: tuple[str, ...]) -> None:
    env = {"MCP_KEYS": f"ann:{DIGEST}:notes:raed"}
    told = mcp_edge(
        "serve", "--app", "my_server.server:create_server", "--auth", "keys", "--port", "0", *workers,
        cwd=tmp_path, env=env,
    )  # fmt: skip
    assert told.returncode == 2
    assert "MCP_KEYS: entry 1 has the scope notes:raed, which the server does not declare." in told.stderr
