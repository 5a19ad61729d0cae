"""A handshake session over a `tests.support.host.Host`: requests sent, answers and events read. It checks nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.host import BOTH, Host, Reply

VERSION = "2025-11-25"


class HostSession:
    """Opens a session; each request takes a connection of its own."""

    def __init__(self, host: Host, version: str = VERSION) -> None:
        self._host = host
        self.headers: dict[str, str] = {}
        params: dict[str, Any] = {"protocolVersion": version, "capabilities": {"elicitation": {}}, "clientInfo": CLIENT}
        opened = self.request("initialize", params)
        opened.whole()
        self.headers = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": version}

    def post(self, message: Any) -> Reply:
        """POST a message."""
        fields = {"content-type": "application/json", "accept": BOTH, **self.headers}
        return self._host.send("POST", "/mcp", fields, json.dumps(message).encode())

    def request(self, method: str, params: Mapping[str, Any] | None = None, *, id: Any = 1) -> Reply:
        """POST a request."""
        return self.post({"jsonrpc": "2.0", "id": id, "method": method, "params": dict(params or {})})

    def call(self, tool: str, *, id: Any = 1, **arguments: Any) -> Reply:
        """Call a tool that may report progress."""
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        return self.request("tools/call", params, id=id)

    def get(self, last_event_id: str | None = None) -> Reply:
        """Open the standalone stream, or resume one."""
        resuming = {} if last_event_id is None else {"last-event-id": last_event_id}
        return self._host.send("GET", "/mcp", {"accept": "text/event-stream", **self.headers, **resuming}, b"")


CLIENT = {"name": "tests", "version": "1"}


def text(reply: Reply) -> str:
    """The text of a tool's result that came as JSON, or as the last event of a stream."""
    if reply.headers["content-type"] == "application/json":
        message = json.loads(reply.whole())
    else:
        message = reply.events()[-1]["data"]
    return message["result"]["content"][0]["text"]
