"""The clauses of the specification that the wires owe, and the mark that a test bears which holds one of them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., object])

CLAUSES: dict[str, str] = {
    # 2026-07-28
    "modern.post-only": "MUST: one endpoint, POST; GET and DELETE are answered with 405",
    "modern.no-session": "MUST: `Mcp-Session-Id` and `Last-Event-ID` are ignored, no session id is ever minted",
    "modern.notification": "MUST: an accepted notification is answered with 202 and no body",
    "modern.no-response-no-batch": "MUST: a response or a batch in the body is refused with 4xx",
    "modern.json-or-stream": "MUST: one JSON object, or a stream with only related notifications before the response",
    "modern.no-server-request": "MUST NOT: send a request to the client, or event ids",
    "modern.disconnect-cancels": "MUST: closing the stream cancels; the work stops and nothing more is sent",
    "modern.version-header": "MUST: `MCP-Protocol-Version` is required and equals the envelope's, else 400/-32020",
    "modern.method-header": "MUST: `Mcp-Method` is required and equals the method, else 400/-32020",
    "modern.name-header": "MUST: `Mcp-Name` is required where the body names something and equals it, else 400/-32020",
    "modern.encoded-name": "MUST: `=?base64?…?=` is decoded before it is compared; bad characters are refused",
    "modern.param-headers": "MUST: `Mcp-Param-*` equals the argument; an argument without its header is refused",
    "modern.unsupported-version": "MUST: an unsupported version is 400/-32022 with `supported` and `requested`",
    "modern.capability": "MUST: an undeclared capability is 400/-32021 with `requiredCapabilities`",
    "modern.unknown-method": "MUST: an unknown or removed method is 404/-32601",
    "modern.envelope": "MUST: a missing `_meta`, version or capabilities is 400/-32602; clientInfo is optional",
    "modern.resource-not-found": "MUST: an unknown resource is -32602",
    "modern.unknown-tool": "MUST: an unknown tool is a JSON-RPC error",
    "modern.codes": "MUST NOT: emit undefined codes from -32020 to -32099, nor -32002",
    "modern.result-type": "MUST: every result has `resultType`",
    "modern.cacheable": "MUST: lists, reads and discovery say `ttlMs` >= 0 and `cacheScope`",
    "modern.tool-order": "SHOULD: the order of tools is the same in every answer",
    "modern.server-info": "SHOULD: results bear `serverInfo` in `_meta`",
    "modern.listen-acknowledged": "MUST: a listen stream is acknowledged first, and carries only what was asked for",
    "modern.listen-id": "MUST: every message of a listen stream bears its `subscriptionId`",
    "modern.listen-end": "MUST: a listen stream that ends gracefully has a final result",
    "modern.listen-keep-alive": "SHOULD: a silent stream is kept alive by comments",
    "modern.input-required": "MUST: only tools/call, prompts/get and resources/read answer `input_required`",
    "modern.sealed-state": "MUST: `requestState` is sealed, and bound to the principal, the request and a time",
    "modern.log-level": "MUST NOT: send `notifications/message` unless the request asks for a `logLevel`",
    "modern.unbuffered": "SHOULD: a stream says `X-Accel-Buffering: no`",
    "modern.removed": "MUST: initialize, ping, logging/setLevel, resources/(un)subscribe are not served",
    "modern.dual-era": "MAY: one endpoint serves both eras: the envelope is stateless, `initialize` opens a session",
    "any.origin": "MUST: an Origin that is present and not admitted is 403 on every connection",
    # 2025-03-26 to 2025-11-25
    "handshake.one-endpoint": "MUST: POST and GET on one endpoint",
    "handshake.accepted": "MUST: a notification or a response is answered with 202 and no body",
    "handshake.json-or-stream": "MUST: a request is answered with JSON or with an event stream",
    "handshake.priming": "SHOULD: a stream begins with an event id and empty data",
    "handshake.retry": "SHOULD: `retry` is sent before a stream is closed early",
    "handshake.disconnect": "SHOULD NOT: a disconnect is not a cancellation",
    "handshake.cancelled": "SHOULD: `notifications/cancelled` stops the request, and no response follows",
    "handshake.get": "MUST: GET is answered with an event stream or with 405",
    "handshake.one-stream": "MUST: each message is sent on exactly one stream",
    "handshake.event-ids": "MUST: event ids are unique in the session and name their stream",
    "handshake.replay": "MUST: `Last-Event-ID` replays what followed on that stream only",
    "handshake.session-id": "MUST: a session id is visible ASCII and unguessable",
    "handshake.no-session": "SHOULD: a request without a session id is 400",
    "handshake.unknown-session": "MUST: an unknown or ended session is 404",
    "handshake.delete": "MAY: DELETE ends the session",
    "handshake.bad-version": "MUST: an invalid `MCP-Protocol-Version` is 400",
    "handshake.absent-version": "SHOULD: without the header the negotiated version counts",
    "handshake.batches": "MUST: batches are taken in 2025-03-26, and in no other revision",
    # 2024-11-05
    "sse.endpoint": "MUST: the first event of the stream is `endpoint` with the URI to post to",
    "sse.messages": "MUST: each POST is 202, and its answer comes on the stream as a `message` event",
}


def clause(*names: str) -> Callable[[Test], Test]:
    """Mark a test as the one that holds up the clauses `names`; `docs/protocol.md` lists it."""
    for name in names:
        assert name in CLAUSES, name

    def mark(test: Test) -> Test:
        return test

    return mark
