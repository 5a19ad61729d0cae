"""The worst calls: what one caller can put into one request, by name. `benchmarks.worst` sends them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.wire import CLIENT, HANDSHAKE, MODERN

DEADLINE_S = 60

Attack = Callable[[int], str]
"""Attacks the server at a port; returns what became of it, such as `400, 92 B`."""


# -- what is sent ------------------------------------------------------------------------------------------------------


def message(method: str, params: dict[str, Any], id_: Any = 1) -> dict[str, Any]:
    """A request without its revision's envelope."""
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def call(**arguments: Any) -> dict[str, Any]:
    """A call of `add_note`."""
    return message("tools/call", {"name": "add_note", "arguments": {"title": "t", "text": "x", **arguments}})


def modern(body: dict[str, Any]) -> Attack:
    """Send a request of 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {**body["params"], "_meta": {**meta, **body["params"].get("_meta", {})}}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": body["method"][:200]}
    named = params.get("uri" if body["method"] == "resources/read" else "name")
    if isinstance(named, str):
        headers["mcp-name"] = named[:200]
    return partial(post, body=json.dumps({**body, "params": params}).encode(), headers=headers)


def handshake(body: Any, version: str = HANDSHAKE) -> Attack:
    """Send a request, or a batch, in a session of an older revision."""
    raw = json.dumps(body).encode()

    def attack(port: int) -> str:
        opening = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
        connection = connection_to(port)
        connection.request("POST", "/mcp", json.dumps(message("initialize", opening)), HEADERS)
        session = connection.getresponse()
        session.read()
        connection.close()
        headers = {"mcp-session-id": session.headers["mcp-session-id"], "mcp-protocol-version": version}
        return post(port, body=raw, headers=headers)

    return attack


def alone(body: dict[str, Any]) -> Attack:
    """Send a request without a session."""
    return partial(post, body=json.dumps(body).encode(), headers={})


def posted(body: dict[str, Any]) -> Attack:
    """Post a request to a stream of 2024-11-05, and read its answer there."""
    raw = json.dumps(body).encode()

    def attack(port: int) -> str:
        stream = connection_to(port)
        stream.request("GET", "/sse", headers={"accept": "text/event-stream"})
        events = stream.getresponse()
        path = _data_of(events).decode()
        opening = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": CLIENT}
        post(port, body=json.dumps(message("initialize", opening, 0)).encode(), headers={}, path=path)
        _data_of(events)
        said = post(port, body=raw, headers={}, path=path)
        if said.startswith("202"):
            said = f"202, then {len(_data_of(events)):,} B"
        events.close()
        stream.close()
        return said

    return attack


_ICONS = [{"src": "x"}] * 400_000
_ANSWERS = {str(n): {} for n in range(150_000)}
_URIS = [f"note://{n}" for n in range(200_000)]
_WHO: dict[str, Any] = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {**CLIENT, "icons": _ICONS}}

CALLS: Mapping[str, Callable[[], Attack]] = {
    "90,000 wrong items": lambda: modern(call(tags=[1] * 90_000)),
    "90,000 wrong items, in a session": lambda: handshake(call(tags=[1] * 90_000)),
    "90,000 wrong items, posted": lambda: posted(call(tags=[1] * 90_000)),
    "1,900,000 wrong items": lambda: modern(call(tags=[1] * 1_900_000)),
    "1,300,000 wrong items in a text": lambda: modern(call(tags=json.dumps([1] * 1_300_000))),
    "a member of 3.9 MB": lambda: modern(call(**{"k" * 3_900_000: 1})),
    "a text of 3.9 MB, all commas": lambda: modern(call(text="," * 3_900_000)),
    "a batch of 64 with 1,500 wrong items each": lambda: handshake(
        [{**call(tags=[1] * 1500), "id": n} for n in range(64)], "2025-03-26"
    ),
    "a tool's name of 3.9 MB": lambda: modern(message("tools/call", {"name": "x" * 3_900_000, "arguments": {}})),
    "a resource's URI of 3.9 MB": lambda: modern(message("resources/read", {"uri": "note://" + "x" * 3_900_000})),
    "an id of 3.9 MB": lambda: modern(message("tools/list", {}, "x" * 3_900_000)),
    "a client with 400,000 icons": lambda: alone(message("initialize", _WHO)),
    "150,000 answers that nobody asked for": lambda: modern(
        message("tools/call", {"name": "add_note", "arguments": {}, "inputResponses": _ANSWERS})
    ),
    "200,000 URIs to listen for": lambda: modern(
        message("subscriptions/listen", {"notifications": {"resourceSubscriptions": _URIS}})
    ),
}
"""Name -> what makes the attack; it is made when its turn comes, since it is large."""


# -- sending -----------------------------------------------------------------------------------------------------------

HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def connection_to(port: int) -> http.client.HTTPConnection:
    """A connection to the server at a port."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)


def post(port: int, *, body: bytes, headers: Mapping[str, str], path: str = "/mcp") -> str:
    """What became of a POST: its status and the size of its answer."""
    connection = connection_to(port)
    try:
        connection.request("POST", path, body, {**HEADERS, **headers})
        response = connection.getresponse()
        size = len(response.read())
        return f"{response.status}, {size:,} B"
    finally:
        connection.close()


def _data_of(events: http.client.HTTPResponse) -> bytes:
    """The data of the next event."""
    while line := events.readline():
        if line.startswith(b"data: "):
            return line[6:].strip()
    raise RuntimeError("the stream has ended")
