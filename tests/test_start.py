"""The server is made once, at its first request or before; its lifespan is entered once and left at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from pydantic import SecretStr

from mcp_edge import app as app_module
from mcp_edge.app import PATIENCE_S, App, create_app
from mcp_edge.platform import Platform
from mcp_edge.records import readiness
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory
from tests.support.asgi import Call
from tests.support.deployment import Deployment

pytestmark = pytest.mark.anyio

Lifespan = Callable[[MCPServer[Any]], AbstractAsyncContextManager[dict[str, Any]]]


def app_with(lifespan: Lifespan) -> App:
    settings = Settings(secret_keys=(SecretStr("k" * 43),), store="memory:")
    return create_app(lambda _: MCPServer("starts", lifespan=lifespan), Platform(settings, *open_memory()))


def ready(app: App) -> Call:
    return Call(app, "GET", "/readyz", [("host", "localhost")], [b""])


async def test_a_start_whose_request_was_dropped_is_made_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (app_module, readiness):
        monkeypatch.setattr(module, "PATIENCE_S", 0.02)
    entered: list[int] = []
    never = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: MCPServer[Any]) -> AsyncGenerator[dict[str, Any]]:
        entered.append(len(entered))
        if len(entered) == 1:
            await never.wait()  # as where a host lets a request go without cancelling it
        yield {}

    app = app_with(lifespan)
    dropped = ready(app)
    answer = await ready(app).whole()
    await dropped.kill()

    assert answer.status == 200
    assert entered == [0, 1]


async def test_a_start_whose_request_was_cancelled_is_made_by_the_next() -> None:
    entered = asyncio.Event()
    go = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: MCPServer[Any]) -> AsyncGenerator[dict[str, Any]]:
        entered.set()
        await go.wait()
        yield {}

    app = app_with(lifespan)
    cancelled = ready(app)
    await entered.wait()
    await cancelled.kill()
    go.set()

    assert (await ready(app).whole()).status == 200


async def test_a_lifespan_with_a_task_group_is_entered_and_left_by_the_task_that_serves() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(_: MCPServer[Any]) -> AsyncGenerator[dict[str, Any]]:
        async with anyio.create_task_group() as group:
            steps.append("entered")
            group.start_soon(anyio.sleep_forever)
            yield {}
            group.cancel_scope.cancel()
        steps.append("left")

    app = app_with(lifespan)
    await app.start()
    statuses = [(await ready(app).whole()).status for _ in range(2)]
    await app.stop()

    assert statuses == [200, 200]
    assert steps == ["entered", "left"]


async def test_a_server_that_cannot_be_made_fails_each_request_at_once() -> None:
    def broken(_: Settings) -> MCPServer[Any]:
        raise ZeroDivisionError

    settings = Settings(secret_keys=(SecretStr("k" * 43),), store="memory:")
    app = create_app(broken, Platform(settings, *open_memory()))
    with anyio.fail_after(PATIENCE_S / 2):
        statuses = [(await ready(app).whole()).status for _ in range(2)]

    assert statuses == [500, 500]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"upstream_url": "http://api.example", "upstream_token": SecretStr("t")}, True),
        ({"upstream_url": "http://api.example"}, False),
        ({"upstream_url": "http://127.0.0.1:9", "upstream_token": SecretStr("t")}, False),
        ({"upstream_url": "https://api.example", "upstream_token": SecretStr("t")}, False),
    ],
    ids=["plain", "without a credential", "loopback", "https"],
)
async def test_the_start_tells_that_credentials_would_go_upstream_in_the_clear(
    edge: Deployment, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], told: bool
) -> None:
    assert (await edge.instance("A", **settings).modern("tools/list").whole()).status == 200
    assert ("MCP_UPSTREAM_URL is not https" in caplog.text) == told
