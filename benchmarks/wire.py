"""The one request that everybody answers, and how it is posted to an ASGI app. It knows no contender."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

ASGIApp = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Era = Literal["plain", "handshake", "modern"]

HANDSHAKE = "2025-11-25"
MODERN = "2026-07-28"
HOST = "127.0.0.1:8000"
TEXT = "The quick brown fox jumps over the lazy dog."
CLIENT = {"name": "bench", "version": "1"}


@dataclass(frozen=True, slots=True)
class Request:
    """A POST to /mcp."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


Post = Callable[[Request], Coroutine[Any, Any, Answer]]


def _body(method: str, params: dict[str, Any] | None, id_: int | None) -> bytes:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if id_ is not None:
        message["id"] = id_
    if params is not None:
        message["params"] = params
    return json.dumps(message, separators=(",", ":")).encode()


def _common(extra: dict[str, str]) -> dict[str, str]:
    return {"content-type": "application/json", "accept": "application/json, text/event-stream", **extra}


async def open_session(post: Post, extra: dict[str, str]) -> dict[str, str]:
    """The handshake of the 2025 revisions. The headers that later requests carry."""
    params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": CLIENT}
    answer = await post(Request(_common(extra), _body("initialize", params, 1)))
    if answer.status != 200:
        raise RuntimeError(f"initialize: {answer.status} {answer.body[:200]!r}")
    headers = {**_common(extra), "mcp-protocol-version": HANDSHAKE}
    if session := answer.headers.get("mcp-session-id"):
        headers["mcp-session-id"] = session
    answer = await post(Request(headers, _body("notifications/initialized", None, None)))
    if answer.status != 202:
        raise RuntimeError(f"notifications/initialized: {answer.status} {answer.body[:200]!r}")
    return headers


async def prepare(era: Era, post: Post, extra: dict[str, str]) -> Request:
    """The `tools/call` to be repeated, after whatever handshake its revision asks for."""
    params: dict[str, Any] = {"name": "echo", "arguments": {"text": TEXT}}
    headers = _common(extra)
    if era == "handshake":
        headers = await open_session(post, extra)
    elif era == "modern":
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": CLIENT,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        headers |= {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "echo"}
    return Request(headers, _body("tools/call", params, 7))


def check(answer: Answer) -> None:
    """Refuse to measure a contender that does not answer with the text.

    Raises:
        RuntimeError: the answer is not the echo.
    """
    try:
        message = json.loads(answer.body)
        right = (
            answer.status == 200
            and message["id"] == 7
            and not message["result"].get("isError")
            and message["result"]["content"][0]["text"] == TEXT
        )
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise RuntimeError(f"wrong answer: {answer.status} {answer.body[:200]!r}")


class Exchange:
    """One HTTP exchange as an ASGI server would run it, without the server. The body arrives in one piece."""

    __slots__ = ("body", "done", "headers", "incoming", "keep", "parts", "status")

    def __init__(self, body: bytes, *, keep: bool = False) -> None:
        self.incoming: bytes | None = body
        self.keep = keep
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.done: asyncio.Event | None = None

    async def receive(self) -> dict[str, Any]:
        """The request, then a disconnect once the answer is complete."""
        if self.incoming is not None:
            body, self.incoming = self.incoming, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self.done is None:
            self.done = asyncio.Event()
        await self.done.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take the answer in; drop its bytes unless they are wanted."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.keep:
                self.headers = list(message["headers"])
        else:
            if self.keep:
                self.parts.append(message.get("body", b""))
            if not message.get("more_body") and self.done is not None:
                self.done.set()


def scope_of(request: Request) -> dict[str, Any]:
    """The ASGI scope of a POST; copy it for each call, because frameworks write into it."""
    usual = {"host": HOST, "user-agent": "bench/1", "accept-encoding": "gzip, deflate", "connection": "keep-alive"}
    headers = {**usual, **request.headers, "content-length": str(len(request.body))}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
    }


def poster(app: ASGIApp) -> Post:
    """`post` straight into the app, in this process."""

    async def post(request: Request) -> Answer:
        exchange = Exchange(request.body, keep=True)
        await app(scope_of(request), exchange.receive, exchange.send)
        headers = {name.decode().lower(): value.decode() for name, value in exchange.headers}
        return Answer(exchange.status, headers, b"".join(exchange.parts))

    return post
