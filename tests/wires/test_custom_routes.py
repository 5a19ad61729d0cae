"""Routes that a server has of its own, made with the SDK's `@server.custom_route`, and those that a host adds."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from pydantic import SecretStr
from starlette.requests import Request as WebRequest
from starlette.responses import PlainTextResponse, Response

from mcp_edge.app import create_app
from mcp_edge.auth.modes import choose_mode
from mcp_edge.auth.scopes import Scopes
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.routing import Route, RouteTable, Who
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory
from tests.support.asgi import Answer, Call

pytestmark = pytest.mark.anyio


def create_server(settings: Settings) -> MCPServer[Any]:
    server = MCPServer("hooks")

    @server.custom_route("/hooks/{name}", methods=["POST"])
    async def hook(request: WebRequest) -> Response:
        body = await request.body()
        return PlainTextResponse(f"{request.path_params['name']}: {len(body)} of {settings.max_body_bytes}")

    @server.custom_route("/healthz", methods=["GET"])
    async def mine(request: WebRequest) -> Response:
        return PlainTextResponse("mine")

    @server.custom_route("/broken", methods=["GET"])
    async def broken(request: WebRequest) -> Response:
        raise ValueError(str(request.url))

    del hook, mine, broken
    return server


class Hooks:
    """One app that has routes of its own."""

    def __init__(self, *routes: Route, **settings: Any) -> None:
        options = Settings(auth="none", secret_keys=(SecretStr("k" * 32),), max_body_bytes=1024, **settings)
        self.app = create_app(create_server, Platform(options, *open_memory()), routes)

    async def ask(self, method: str, path: str, body: bytes = b"", *, host: bytes = b"localhost") -> Answer:
        return await Call(self.app, method, path, [("host", host.decode())], [body]).whole()


@pytest.fixture
def hooks() -> Hooks:
    return Hooks()


async def test_a_route_of_the_server_s_own_answers_without_a_credential(hooks: Hooks) -> None:
    answer = await hooks.ask("POST", "/hooks/weather", b"sunny")

    assert (answer.status, answer.body) == (200, b"weather: 5 of 1024")


async def test_another_method_is_refused_by_the_route(hooks: Hooks) -> None:
    answer = await hooks.ask("GET", "/hooks/weather")

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_body_that_is_too_long_is_refused_as_everywhere(hooks: Hooks) -> None:
    assert (await hooks.ask("POST", "/hooks/weather", b"x" * 1025)).status == 413


async def test_a_bug_in_its_handler_is_told_without_detail(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    answer = await hooks.ask("GET", "/broken")

    assert (answer.status, answer.json["error"]["message"][:24]) == (500, "Internal error (request ")
    assert "ValueError" in caplog.text


async def test_it_takes_no_path_of_the_app_s(hooks: Hooks) -> None:
    assert (await hooks.ask("GET", "/healthz")).json == {"status": "alive"}


async def test_another_host_s_name_is_refused(hooks: Hooks) -> None:
    assert (await hooks.ask("POST", "/hooks/weather", host=b"rebound.example")).status == 421


async def test_what_nobody_has_is_404(hooks: Hooks) -> None:
    assert (await hooks.ask("GET", "/nothing")).status == 404
    assert (await hooks.ask("GET", "/nothing", host=b"other.example")).status == 404


async def test_a_host_adds_routes_to_the_table() -> None:
    async def metrics(request: Request) -> None:
        await request.answer(200, b"{}")

    answer = await Hooks(Route("/metrics", metrics, Who.ANYBODY)).ask("GET", "/metrics")

    assert (answer.status, answer.json) == (200, {})


def test_a_path_that_ends_with_a_slash_stands_for_all_below_it() -> None:
    async def handler(request: Request) -> None:
        del request

    table = RouteTable([Route("/a/", handler, Who.ANYBODY), Route("/a/b", handler, Who.USER)])

    assert [getattr(table.find(path), "path", None) for path in ("/a/b", "/a/c", "/a", "/")] == [
        "/a/b", "/a/", None, None,
    ]  # fmt: skip


async def test_no_mode_of_authorization_takes_a_path_of_the_wires() -> None:
    settings = Settings(
        auth="oauth", public_url="https://mcp.example", secret_keys=(SecretStr("k" * 32),), identity="dev"
    )
    mode = choose_mode(Platform(settings, *open_memory()), _scopes)
    paths = RouteTable(mode.routes).paths()

    assert {"/token", "/authorize", "/connect/", "/.well-known/oauth-protected-resource/mcp"} <= set(paths)
    assert not {"/mcp", "/sse", "/messages", "/healthz", "/readyz"} & set(paths)


async def _scopes() -> Scopes:
    return Scopes([])
