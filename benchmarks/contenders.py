"""Who is measured: the floor, the peers, and this project. Each is an ASGI app that lives as long as its context."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.wire import HOST, ASGIApp, Era

if TYPE_CHECKING:
    from mcp_edge.platform import Platform

USERS = 1000
SECRET = "bench-secret-0123456789abcdef0123456789abcdef"


def key_of(user: int) -> str:
    """The bearer key of one of the `USERS`."""
    return f"bench-key-0123456789abcdef0123456789abcdef-{user}"


def bearer(user: int) -> dict[str, str]:
    """The headers of one of the `USERS`."""
    return {"authorization": f"Bearer {key_of(user)}"}


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table."""

    name: str
    label: str
    era: Era
    build: Callable[[], AbstractAsyncContextManager[ASGIApp]]
    headers: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def floor() -> AsyncIterator[ASGIApp]:
    """Starlette, one POST route: parse the JSON, answer the JSON. What any Python service pays."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def call(request: Request) -> JSONResponse:
        message = await request.json()
        text = message["params"]["arguments"]["text"]
        result = {"content": [{"type": "text", "text": text}], "structuredContent": {"result": text}, "isError": False}
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result})

    yield Starlette(routes=[Route("/mcp", call, methods=["POST"])])


@asynccontextmanager
async def raw() -> AsyncIterator[ASGIApp]:
    """ASGI by hand with pydantic validation of message and arguments: what the language allows."""
    from pydantic import BaseModel, TypeAdapter
    from pydantic_core import to_json

    class Arguments(BaseModel):
        text: str

    class Params(BaseModel):
        name: str
        arguments: Arguments

    class Message(BaseModel):
        jsonrpc: Literal["2.0"]
        id: int
        method: str
        params: Params

    read = TypeAdapter(Message).validate_json

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        del scope
        parts: list[bytes] = []
        more = True
        while more:
            event = await receive()
            parts.append(event["body"])
            more = event.get("more_body", False)
        message = read(b"".join(parts))
        text = message.params.arguments.text
        result = {"content": [{"type": "text", "text": text}], "structuredContent": {"result": text}, "isError": False}
        body = to_json({"jsonrpc": "2.0", "id": message.id, "result": result})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    yield app


@asynccontextmanager
async def sdk(*, stateless: bool) -> AsyncIterator[ASGIApp]:
    """The official SDK's own streamable HTTP app, answering JSON."""
    from benchmarks.echo import create_server

    app = create_server().streamable_http_app(json_response=True, stateless_http=stateless, max_sessions=None)
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def fastmcp() -> AsyncIterator[ASGIApp]:
    """FastMCP's app, stateless, answering JSON."""
    os.environ.setdefault("FASTMCP_LOG_LEVEL", "WARNING")
    os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
    from fastmcp import FastMCP  # pyright: ignore[reportMissingImports] # only where benchmarks run

    server = FastMCP("bench")

    @server.tool()
    async def echo(text: str) -> str:
        """Answer with the text."""
        return text

    app = server.http_app(json_response=True, stateless_http=True)
    async with app.router.lifespan_context(app):
        yield app


def options() -> dict[str, str]:
    """The same settings in the environment, for a server that is started as a process."""
    keys = ",".join(f"user{n}:{sha256(key_of(n).encode()).hexdigest()}" for n in range(USERS))
    return {"MCP_PUBLIC_URL": f"http://{HOST}", "MCP_KEYS": keys, "MCP_SECRET_KEYS": SECRET}


@asynccontextmanager
async def platform(
    *, auth: Literal["none", "keys", "oauth"], store: Literal["memory", "sqlite"]
) -> AsyncIterator[Platform]:
    """This project's platform as `mcp-edge serve` puts it together, its log lines written to the null device."""
    from mcp_edge.platform import Platform
    from mcp_edge.settings import Settings
    from mcp_edge.storage.choose import open_store
    from mcp_edge.telemetry.call_lines import LineSink

    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("wb", buffering=0) as sink:
        settings = Settings.model_validate(
            {
                "public_url": f"http://{HOST}",
                "store": f"sqlite:{folder}/bench.db" if store == "sqlite" else "memory:",
                "auth": auth,
                "keys": {f"user{n}": sha256(key_of(n).encode()).hexdigest() for n in range(USERS)},
                "secret_keys": [SECRET],
            }
        )
        records, atomics = open_store(settings.store)
        try:
            yield Platform(settings=settings, records=records, atomics=atomics, telemetry=LineSink(sink, "json"))
        finally:
            await records.aclose()
            await atomics.aclose()


@asynccontextmanager
async def ours(*, auth: Literal["none", "keys"], store: Literal["memory", "sqlite"]) -> AsyncIterator[ASGIApp]:
    """This project's app."""
    from benchmarks.echo import create_server
    from mcp_edge.app import create_app

    async with platform(auth=auth, store=store) as host:
        yield create_app(create_server, host)


def _ours(era: Era, auth: Literal["none", "keys"], store: Literal["memory", "sqlite"]) -> Contender:
    return Contender(
        name=f"ours-{era}-{auth}-{store}",
        label=f"mcp-edge, {era}, auth {auth}, {'memory' if store == 'memory' else 'SQLite'}",
        era=era,
        build=partial(ours, auth=auth, store=store),
        headers=bearer(0) if auth == "keys" else {},
    )


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("floor", "floor: bare Starlette", "plain", floor),
        Contender("raw", "raw ASGI + pydantic", "plain", raw),
        Contender("sdk-stateless", "SDK stateless, 2025-11-25", "handshake", partial(sdk, stateless=True)),
        Contender("sdk-stateful", "SDK stateful, 2025-11-25", "handshake", partial(sdk, stateless=False)),
        Contender("sdk-modern", "SDK, 2026-07-28", "modern", partial(sdk, stateless=True)),
        Contender("fastmcp", "FastMCP stateless, 2025-11-25", "handshake", fastmcp),
        _ours("handshake", "none", "memory"),
        _ours("handshake", "keys", "memory"),
        _ours("modern", "none", "memory"),
        _ours("modern", "keys", "memory"),
        _ours("handshake", "keys", "sqlite"),
        _ours("modern", "keys", "sqlite"),
    )
}
