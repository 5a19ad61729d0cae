"""Our way through the SDK answers as the SDK's own HTTP server does, on each revision, request by request.

Both serve the same tools. The SDK runs stateless with JSON answers; what ours answers as a stream is compared by its
final response. Each difference is listed with its reason.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp

from mcp_edge.settings import Settings
from tests.support.asgi import Call, Headers
from tests.support.deployment import BOTH, ENVELOPE, HANDSHAKE, MODERN, NAMED, Deployment, json_of, request
from tests.support.tool_server import HERE, Recorder, create_server

pytestmark = pytest.mark.anyio

DEEP: Any = json.loads("[" * 150 + "1" + "]" * 150)

CALLS: dict[str, Any] = {
    "text": {"name": "echo", "arguments": {"text": "hi"}},
    "empty text": {"name": "echo", "arguments": {"text": ""}},
    "astral text": {"name": "echo", "arguments": {"text": "😀 \u2028 \0 \x7f"}},
    "no arguments": {"name": "nothing"},
    "null arguments": {"name": "nothing", "arguments": None},
    "list arguments": {"name": "nothing", "arguments": []},
    "text arguments": {"name": "nothing", "arguments": "{}"},
    "missing argument": {"name": "echo", "arguments": {}},
    "wrong argument": {"name": "echo", "arguments": {"text": 7}},
    "unknown argument": {"name": "echo", "arguments": {"text": "x", "more": 1}},
    "json in text": {"name": "add", "arguments": {"a": "1", "b": "2"}},
    "structured": {"name": "add", "arguments": {"a": 1, "b": 2}},
    "huge integer": {"name": "add", "arguments": {"a": 10**40}},
    "bool for integer": {"name": "add", "arguments": {"a": True}},
    "deep argument": {"name": "anything", "arguments": {"value": DEEP}},
    "odd numbers": {"name": "numbers"},
    "lone surrogate": {"name": "surrogate", "arguments": {}},
    "image": {"name": "picture"},
    "annotations": {"name": "annotated"},
    "embedded": {"name": "embedded"},
    "own result": {"name": "whole_result"},
    "tool error": {"name": "fail"},
    "tool bug": {"name": "crash"},
    "protocol error": {"name": "refuse", "arguments": {}},
    "own protocol error": {"name": "refuse", "arguments": {"code": 77}},
    "progress, text token": {"name": "count", "arguments": {"to": 2}, "_meta": {"progressToken": "t"}},
    "progress, number token": {"name": "count", "arguments": {"to": 2}, "_meta": {"progressToken": 0}},
    "progress, no token": {"name": "count", "arguments": {"to": 2}},
    "bool token": {"name": "echo", "arguments": {"text": "x"}, "_meta": {"progressToken": True}},
    "float token": {"name": "echo", "arguments": {"text": "x"}, "_meta": {"progressToken": 1.5}},
    "null token": {"name": "echo", "arguments": {"text": "x"}, "_meta": {"progressToken": None}},
    "object token": {"name": "echo", "arguments": {"text": "x"}, "_meta": {"progressToken": {}}},
    "foreign meta": {"name": "echo", "arguments": {"text": "x"}, "_meta": {"com.example/x": [1], "y": None}},
    "unknown reserved meta": {"name": "echo", "arguments": {"text": "x"}, "_meta": {"io.modelcontextprotocol/x": 1}},
    "bad log level": {"name": "echo", "arguments": {"text": "x"}, "_meta": {"io.modelcontextprotocol/logLevel": "x"}},
    "extra params": {"name": "echo", "arguments": {"text": "x"}, "extra": {"a": 1}},
    "task": {"name": "echo", "arguments": {"text": "x"}, "task": {"ttl": 1}},
    "missing name": {"arguments": {}},
    "null name": {"name": None, "arguments": {}},
    "number as name": {"name": 7, "arguments": {}},
    "no params": None,
    "log": {"name": "say", "arguments": {}},
    "log asked for": {"name": "say", "_meta": {"io.modelcontextprotocol/logLevel": "error"}},
}

OTHERS: dict[str, tuple[str, Any]] = {
    "tools": ("tools/list", None),
    "tools, null cursor": ("tools/list", {"cursor": None}),
    "tools, bad cursor": ("tools/list", {"cursor": 7}),
    "prompts": ("prompts/list", {}),
    "resources": ("resources/list", {}),
    "templates": ("resources/templates/list", {}),
    "prompt": ("prompts/get", {"name": "hello", "arguments": {"name": "Ann"}}),
    "prompt without argument": ("prompts/get", {"name": "hello"}),
    "prompt with number": ("prompts/get", {"name": "hello", "arguments": {"name": 7}}),
    "unknown prompt": ("prompts/get", {"name": "no such"}),
    "resource": ("resources/read", {"uri": "note://fixed"}),
    "templated resource": ("resources/read", {"uri": "note://one/1%202"}),
    "unknown resource": ("resources/read", {"uri": "note://no/such/thing"}),
    "no uri": ("resources/read", {}),
    "bad uri": ("resources/read", {"uri": "no uri at all"}),
    "completion": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "hello"}, "argument": {"name": "name", "value": "an"}},
    ),
    "bad completion": ("completion/complete", {"ref": {"type": "ref/other"}}),
    "ping": ("ping", None),
    "unknown": ("no/such", {"a": 1}),
    "empty method": ("", None),
    "discover": ("server/discover", None),
    "modern method": ("subscriptions/listen", None),
}

CORPUS: dict[str, tuple[str, Any]] = {**{name: ("tools/call", params) for name, params in CALLS.items()}, **OTHERS}


def headers(version: str, method: str, params: dict[str, Any] | None) -> Headers:
    fields = [("mcp-protocol-version", version), ("content-type", "application/json"), ("accept", BOTH)]
    if version == MODERN:
        fields.append(("mcp-method", method))
        name = (params or {}).get("uri" if method == "resources/read" else "name") if method in NAMED else None
        fields += [("mcp-name", name)] if isinstance(name, str) else []
    return fields


def message(version: str, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
    if version == MODERN:
        params = params or {}
        params = {**params, "_meta": {**ENVELOPE, **(params.get("_meta") or {})}}
    return request(method, params, id="same")


async def final(call: Call) -> tuple[int, Any]:
    """The status, and the response, whatever came before it."""
    await call.start()
    if call.headers.get("content-type") == "text/event-stream":
        return call.status, (await call.messages())[-1]
    answer = await call.whole()
    return answer.status, answer.json


@asynccontextmanager
async def sdk() -> AsyncGenerator[ASGIApp]:
    """The SDK's own app with the same tools."""
    HERE.set((Recorder(), "A"))
    server = create_server(Settings())
    app = server.streamable_http_app(stateless_http=True, json_response=True)
    async with server.session_manager.run():
        yield app


DIFFERENT: dict[str, str] = {
    "lone surrogate": "the SDK answers 500 on the handshake revisions; ours is escaped JSON",
    "prompt without argument": "the SDK answers 0 or -32603, as if it were the server at fault; ours is -32602",
    "unknown prompt": "the same",
    "discover": "ours also lists `logging`, whose handler the core adds for the handshake revisions",
}
"""Requests that ours answers otherwise, and why. Another is an unknown tool, which is tested with the wires."""


@pytest.mark.parametrize("version", [*HANDSHAKE, MODERN])
@pytest.mark.parametrize("name", [name for name in CORPUS if name not in DIFFERENT])
async def test_the_answer_is_the_sdks(edge: Deployment, version: str, name: str) -> None:
    ours, theirs = await both(edge, version, name)

    assert ours == theirs


@pytest.mark.parametrize("version", [*HANDSHAKE, MODERN])
@pytest.mark.parametrize("name", DIFFERENT)
async def test_where_ours_differs_it_is_a_result_or_says_whose_mistake_it_was(
    edge: Deployment, version: str, name: str
) -> None:
    (status, ours), theirs = await both(edge, version, name)

    if "prompt" in name:
        assert ours["error"]["code"] == -32602
        assert "no such" in ours["error"]["message"] or "name" in ours["error"]["message"]
        assert status == (400 if version == MODERN else 200)
        assert theirs[1]["error"]["code"] in (0, -32603)
    elif name == "discover":
        capabilities = ours.get("result", {}).get("capabilities", {})
        assert capabilities.pop("logging", {}) == {}
        assert (status, ours) == theirs
    else:
        assert ours["result"]["content"] == [{"type": "text", "text": "half \ud83d"}]
        assert status == 200
        assert theirs[0] == (200 if version == MODERN else 500)


async def both(edge: Deployment, version: str, name: str) -> tuple[tuple[int, Any], tuple[int, Any]]:
    """What ours answers, and what theirs does."""
    method, params = CORPUS[name]
    body = json_of(message(version, method, params))
    fields = headers(version, method, params)
    async with sdk() as app:
        theirs = await final(Call(app, "POST", "/mcp", [("host", "localhost:8000"), *fields], [body]))
    a = edge.instance("A")
    if version != MODERN:
        fields = [*fields, ("mcp-session-id", (await a.initialize(version)).id)]
    return await final(a.send("POST", "/mcp", fields, body)), theirs
