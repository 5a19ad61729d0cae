"""One conversation with the example server, literal requests in and whole answers out, for every wrapper to hold.

A wrapper is a `Host`. `play` may be run any number of times, each with a user of its own. What differs from run to run
has a name in angle brackets: the first time it stands for anything, from then on for the same. It knows no wrapper.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, cast

from tests.support.host import BOTH, Host, Reply

KEYS = {"ada": "key-of-ada", "bea": "key-of-bea", "cleo": "key-of-cleo"}
SETTINGS = {
    "auth": "keys",
    "keys": ",".join(f"{name}:{sha256(key.encode()).hexdigest()}" for name, key in KEYS.items()),
}
"""What the server under test must be set to."""
MODERN: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "transcript", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}

FORM = {
    "type": "object",
    "properties": {
        "delete": {
            "type": "boolean",
            "title": "Delete it",
            "description": "A deleted note cannot be brought back.",
        }
    },
    "required": ["delete"],
}
TITLED = {
    "title": "Confirmation",
    "description": "What the user is asked before a note goes. A model becomes a form: one field, one checkbox.",
}
COMPLETE = {
    "resultType": "complete",
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "my-server", "title": "My server", "version": "0.1.0"}},
}


@dataclass
class Names:
    """What the names in angle brackets stand for so far."""

    known: dict[str, str] = field(default_factory=dict[str, str])

    def check(self, actual: Any, expected: Any) -> None:
        """Fail unless both are the same, names aside."""
        filled = self._filled(actual, expected)
        assert filled == expected, f"\n{json.dumps(filled, indent=1)}\nis not\n{json.dumps(expected, indent=1)}"

    def _filled(self, actual: Any, expected: Any) -> Any:
        """`actual` with names where `expected` has them and they fit."""
        if isinstance(expected, dict) and isinstance(actual, dict):
            wanted = cast("dict[str, Any]", expected)
            return {k: self._filled(v, wanted.get(k)) for k, v in cast("dict[str, Any]", actual).items()}
        if isinstance(expected, list) and isinstance(actual, list):
            wanted_items = [*cast("list[Any]", expected)]
            items = cast("list[Any]", actual)
            wanted_items += [None] * (len(items) - len(wanted_items))
            return [self._filled(item, wanted) for item, wanted in zip(items, wanted_items, strict=False)]
        if isinstance(expected, str) and isinstance(actual, str) and "<" in expected:
            return self._text(actual, expected)
        return actual

    def _text(self, actual: str, expected: str) -> str:
        names = re.findall(r"<(\w+)>", expected)
        parts = re.split(r"<\w+>", expected)
        pattern = "".join(
            re.escape(part) + (f"({re.escape(self.known[name]) if name in self.known else '.+?'})" if name else "")
            for part, name in zip(parts, [*names, ""], strict=True)
        )
        match = re.fullmatch(pattern, actual, re.DOTALL)
        if match is None:
            return actual
        self.known.update(zip(names, match.groups(), strict=True))
        return expected

    def __getitem__(self, name: str) -> str:
        return self.known[name]


class Talk:
    """One user's conversation with a host."""

    def __init__(self, host: Host, user: str) -> None:
        self.host = host
        self.user = user
        self.names = Names()
        self.session: dict[str, str] = {}

    def post(self, message: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a message to /mcp, within the session once there is one."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        fields = {"content-type": "application/json", "accept": BOTH, **self.credential(), **self.session}
        return self.host.send("POST", "/mcp", {**fields, **(headers or {})}, body)

    def credential(self) -> dict[str, str]:
        """The user's bearer key."""
        return {"authorization": f"Bearer {KEYS[self.user]}"}

    def request(
        self, id: Any, method: str, params: dict[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST a request."""
        message = {"jsonrpc": "2.0", "id": id, "method": method, **({} if params is None else {"params": params})}
        return self.post(message, headers)

    def modern(self, id: Any, method: str, params: dict[str, Any], name: str = "") -> Reply:
        """POST a request of 2026-07-28, which needs no session."""
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method, **({"mcp-name": name} if name else {})}
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": MODERN}}
        body = json.dumps(message).encode()
        fields = {"content-type": "application/json", "accept": BOTH, **self.credential(), **headers}
        return self.host.send("POST", "/mcp", fields, body)

    def answers(self, reply: Reply, status: int, body: Any, **headers: str) -> None:
        """Fail unless the reply is this status with this JSON body and, among its headers, these."""
        raw = reply.whole()
        found: Any = json.loads(raw) if raw else None
        shown = {name.replace("_", "-"): reply.headers.get(name.replace("_", "-"), "") for name in headers}
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        self.names.check([reply.status, shown, found], [status, wanted, body])

    def streams(self, events: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> None:
        """Fail unless these were the events."""
        self.names.check(list(events), list(expected))


def result(id: Any, value: Any) -> dict[str, Any]:
    """A successful response."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: Any, code: int, message: str, data: Any = None) -> dict[str, Any]:
    """A refusal."""
    more = {} if data is None else {"data": data}
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, **more}}


def structured(value: Any) -> dict[str, Any]:
    """A tool's result: the same value as text and as structure."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "structuredContent": value, "isError": False}


def notified(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A notification."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def play(host: Host, user: str) -> None:
    """Hold the whole conversation.

    Raises:
        AssertionError: an answer is another than the one written here.
    """
    talk = Talk(host, user)
    _strangers(talk)
    _opening(talk)
    _calls(talk)
    _progress(talk)
    _question(talk)
    _mistakes(talk)
    _streams(talk)
    _modern(talk)
    _closing(talk)


# -- the parts -------------------------------------------------------------------------------------------------------


def _strangers(talk: Talk) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    body = json.dumps(message).encode()
    plain = {"content-type": "application/json", "accept": BOTH}
    talk.answers(
        talk.host.send("POST", "/mcp", plain, body),
        401,
        error(None, -32000, "Send a bearer key: Authorization: Bearer KEY."),
        content_type="application/json",
        www_authenticate="Bearer",
    )
    talk.answers(
        talk.host.send("POST", "/mcp", {**plain, "authorization": "Bearer guessed"}, body),
        401,
        error(None, -32000, "The bearer key is not valid here."),
        www_authenticate='Bearer error="invalid_token"',
    )
    talk.answers(
        talk.host.send("POST", "/mcp", {**plain, "origin": "https://evil.example"}, body),
        403,
        error(None, -32000, "This Origin may not call: MCP_ALLOWED_ORIGINS admits more."),
    )
    talk.answers(
        talk.host.send(
            "OPTIONS", "/mcp", {"origin": "https://claude.ai", "access-control-request-method": "POST"}, b""
        ),
        204,
        None,
        access_control_allow_origin="https://claude.ai",
        access_control_allow_methods="GET, POST, DELETE, OPTIONS",
    )
    talk.answers(
        talk.host.send("GET", "/", {}, b""), 404, {"error": "There is nothing here. The MCP endpoint is /mcp."}
    )
    talk.answers(talk.host.send("GET", "/readyz", {}, b""), 200, {"status": "ready"})


def _opening(talk: Talk) -> None:
    reply = talk.request(
        1,
        "initialize",
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "transcript", "version": "1"},
        },
    )
    talk.answers(
        reply,
        200,
        result(
            1,
            {
                "capabilities": {
                    "completions": {},
                    "logging": {},
                    "prompts": {"listChanged": True},
                    "resources": {"listChanged": True, "subscribe": True},
                    "tools": {"listChanged": True},
                },
                "instructions": (
                    "Keeps short notes for each user. Search before adding, so that a note is not written twice; the "
                    "full text of a note is also the resource notes://{id}. Deleting asks the user first."
                ),
                "protocolVersion": "2025-11-25",
                "serverInfo": {"name": "my-server", "title": "My server", "version": "0.1.0"},
            },
        ),
        content_type="application/json",
        mcp_session_id="<session>",
    )
    talk.session = {"mcp-session-id": talk.names["session"], "mcp-protocol-version": "2025-11-25"}
    talk.answers(talk.post({"jsonrpc": "2.0", "method": "notifications/initialized"}), 202, None)


def _calls(talk: Talk) -> None:
    listed = json.loads(talk.request(2, "tools/list").whole())
    assert [tool["name"] for tool in listed["result"]["tools"]] == [
        *("whoami", "add_note", "search_notes", "delete_note", "import_notes", "organizations")
    ]
    talk.answers(talk.request("ping", "ping"), 200, result("ping", {}))
    talk.answers(
        talk.request(3, "tools/call", {"name": "whoami", "arguments": {}}),
        200,
        result(
            3,
            structured(
                {
                    "name": talk.user,
                    "subject": talk.user,
                    "issuer": "keys",
                    "protocol_version": "2025-11-25",
                    "client": {"name": "transcript", "version": "1", "capabilities": ["elicitation"]},
                }
            ),
        ),
        content_type="application/json",
    )
    note = {"title": "Tea — 茶", "text": "Steep for 3 minutes.", "tags": ["drinks"]}
    stored = {"id": "<note>", **note}
    talk.answers(
        talk.request(4, "tools/call", {"name": "add_note", "arguments": note}),
        200,
        result(4, structured({"note": stored, "uri": "notes://<note>", "change": "added"})),
    )
    talk.answers(
        talk.request(5, "tools/call", {"name": "search_notes", "arguments": {"query": "tea"}}),
        200,
        result(5, structured({"notes": [stored], "next_cursor": None})),
    )
    talk.answers(
        talk.request(6, "resources/read", {"uri": f"notes://{talk.names['note']}"}),
        200,
        result(
            6,
            {
                "contents": [
                    {
                        "uri": "notes://<note>",
                        "mimeType": "text/markdown",
                        "text": "# Tea — 茶\n\nSteep for 3 minutes.\n\nTags: drinks\n",
                        "_meta": {"mcp-edge/scopes": ["notes:read"]},
                    }
                ]
            },
        ),
    )


def _progress(talk: Talk) -> None:
    arguments = {"lines": ["one", "two"], "pause_s": 0.01}
    reply = talk.request(
        7, "tools/call", {"name": "import_notes", "arguments": arguments, "_meta": {"progressToken": "p"}}
    )
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream")
    said = [
        notified("notifications/message", {"level": "info", "logger": "import_notes", "data": "Importing 2 notes."}),
        notified("notifications/progress", {"progressToken": "p", "progress": 1, "total": 2, "message": "1 added"}),
        notified("notifications/progress", {"progressToken": "p", "progress": 2, "total": 2, "message": "2 added"}),
        notified(
            "notifications/message",
            {
                "level": "info",
                "logger": "import_notes",
                "data": "Imported 2 notes; 0 were there already.",
            },
        ),
        result(7, structured({"added": 2, "already_there": 0, "skipped": 0})),
    ]
    talk.streams(
        reply.events(),
        [
            {"id": "<import>.0", "retry": "500", "data": ""},
            *({"event": "message", "id": f"<import>.{n}", "data": data} for n, data in enumerate(said, 1)),
        ],
    )
    talk.answers(  # what the client has seen in full cannot be resumed
        talk.host.send("GET", "/mcp", _resuming(talk, f"{talk.names['import']}.5"), b""),
        405,
        error(None, -32600, "The stream has ended; there is nothing to resume."),
    )
    again = talk.host.send("GET", "/mcp", _resuming(talk, f"{talk.names['import']}.3"), b"")
    talk.streams(
        again.events(),
        [{"event": "message", "id": f"<import>.{n}", "data": data} for n, data in enumerate(said[3:], 4)],
    )


def _resuming(talk: Talk, last_event_id: str) -> dict[str, str]:
    return {"accept": "text/event-stream", **talk.credential(), **talk.session, "last-event-id": last_event_id}


def _question(talk: Talk) -> None:
    """Asked whether a note may go, the user says no, and then yes. Buffered, the response ends with the question."""
    for id, wish, outcome in ((8, False, "declined"), (9, True, "deleted")):
        reply = talk.request(id, "tools/call", {"name": "delete_note", "arguments": {"id": talk.names["note"]}})
        asked = [reply.event(), reply.event()]
        talk.names.known.pop("question", None)
        talk.names.known.pop("delete", None)
        talk.names.check(
            asked,
            [
                {"id": "<delete>.0", "retry": "500", "data": ""},
                {
                    "event": "message",
                    "id": "<delete>.1",
                    "data": {
                        "jsonrpc": "2.0",
                        "id": "<question>",
                        "method": "elicitation/create",
                        "params": {
                            "mode": "form",
                            "message": "Delete the note “Tea — 茶” (20 characters)?",
                            "requestedSchema": {**FORM, **TITLED},
                        },
                    },
                },
            ],
        )
        if not talk.host.streaming:
            talk.streams(reply.events(), [{"id": "<delete>.1", "retry": "500", "data": ""}])
        answer = {"action": "accept", "content": {"delete": wish}}
        talk.answers(talk.post(result(talk.names["question"], answer)), 202, None)
        if not talk.host.streaming:
            reply = talk.host.send("GET", "/mcp", _resuming(talk, f"{talk.names['delete']}.1"), b"")
        done = {"outcome": outcome, "id": "<note>", "title": "Tea — 茶"}
        talk.streams(
            reply.events(), [{"event": "message", "id": "<delete>.<last>", "data": result(id, structured(done))}]
        )
        talk.names.known.pop("last")


def _mistakes(talk: Talk) -> None:
    talk.answers(
        talk.post(b"{"), 400, error(None, -32700, "Parse error: EOF while parsing an object at line 1 column 1")
    )
    talk.answers(talk.request(10, "nonsense"), 200, error(10, -32601, "Method not found", "nonsense"))
    talk.answers(
        talk.request(11, "tools/call", {"name": "nothing", "arguments": {}}),
        200,
        error(11, -32602, "Unknown tool: nothing"),
    )
    talk.answers(
        talk.request(12, "tools/call", {"name": "delete_note", "arguments": {"id": "0" * 24}}),
        200,
        result(
            12,
            {
                "content": [
                    {
                        "type": "text",
                        "text": "Error executing tool delete_note: There is no note with this id. "
                        "Find the right one with search_notes.",
                    }
                ],
                "isError": True,
            },
        ),
    )
    talk.answers(
        talk.request(13, "ping", headers={"content-type": "text/plain"}),
        415,
        error(None, -32000, "The content type must be application/json."),
    )
    talk.answers(
        talk.request(14, "ping", headers={"accept": "application/json"}),
        406,
        error(None, -32000, "Accept must take application/json and text/event-stream."),
    )
    talk.answers(
        talk.request(15, "ping", headers={"mcp-session-id": "0" * 32 + "." + "0" * 24}),
        404,
        error(15, -32001, "Session not found: initialize again."),
    )


def _streams(talk: Talk) -> None:
    """Streams that belong to no call: held where the host can, refused where it cannot."""
    headers = {"accept": "text/event-stream", **talk.credential(), **talk.session}
    if talk.host.streaming:
        reply = talk.host.send("GET", "/mcp", headers, b"")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream")
        talk.names.check(reply.event(), {"id": "<cursor>", "retry": "500", "data": ""})
        reply.lines.close()
    else:
        talk.answers(
            talk.host.send("GET", "/mcp", headers, b""),
            405,
            error(None, -32600, "This host holds no streams: poll with POST."),
            allow="POST, DELETE",
        )
        talk.answers(
            talk.host.send("GET", "/sse", headers, b""),
            405,
            error(None, -32600, "This host holds no streams: use /mcp."),
        )


def _modern(talk: Talk) -> None:
    call: dict[str, Any] = {"name": "whoami", "arguments": {}}
    talk.answers(
        talk.modern(1, "tools/call", call, "whoami"),
        200,
        result(
            1,
            {
                **structured(
                    {
                        "name": talk.user,
                        "subject": talk.user,
                        "issuer": "keys",
                        "protocol_version": "2026-07-28",
                        "client": {"name": "transcript", "version": "1", "capabilities": ["elicitation"]},
                    }
                ),
                **COMPLETE,
            },
        ),
    )

    found = structured(
        {"notes": [{"id": "<imported>", "title": "one", "text": "one", "tags": ["imported"]}], "next_cursor": None}
    )
    search = {"name": "search_notes", "arguments": {"query": "one"}}
    talk.answers(talk.modern(2, "tools/call", search, "search_notes"), 200, result(2, {**found, **COMPLETE}))
    delete = {"name": "delete_note", "arguments": {"id": talk.names["imported"]}}
    key = "my_server.tools.notes:_ask"
    talk.answers(
        talk.modern(3, "tools/call", delete, "delete_note"),
        200,
        result(
            3,
            {
                **COMPLETE,
                "resultType": "input_required",
                "inputRequests": {
                    key: {
                        "method": "elicitation/create",
                        "params": {
                            "mode": "form",
                            "message": "Delete the note “one” (3 characters)?",
                            "requestedSchema": FORM,
                        },
                    }
                },
                "requestState": "<state>",
            },
        ),
    )
    answers = {key: {"action": "accept", "content": {"delete": True}}}
    answered = {**delete, "inputResponses": answers, "requestState": talk.names["state"]}
    done = structured({"outcome": "deleted", "id": "<imported>", "title": "one"})
    talk.answers(talk.modern(4, "tools/call", answered, "delete_note"), 200, result(4, {**done, **COMPLETE}))
    talk.answers(
        talk.modern(5, "tools/call", {**answered, "requestState": "v1.forged"}, "delete_note"),
        400,
        error(5, -32602, "Invalid or expired requestState", {"reason": "invalid_request_state"}),
    )


def _closing(talk: Talk) -> None:
    headers = {**talk.credential(), **talk.session}
    talk.answers(talk.host.send("DELETE", "/mcp", headers, b""), 204, None)
    talk.answers(talk.request(16, "ping"), 404, error(16, -32001, "Session not found: initialize again."))
