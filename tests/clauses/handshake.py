"""Patches that break the clauses of revisions 2024-11-05 to 2025-11-25."""

from __future__ import annotations

from tests.clauses.patch import Patch

_LOAD = "wires/session_requests.py"
_STREAM = "calls/logged_stream.py"

STREAMABLE_HTTP = (
    Patch(
        "handshake.one-endpoint",
        "GET is not served where POST is",
        "wires/mcp.py",
        'elif request.method == "GET":',
        'elif request.method == "GET" and request.path != "/mcp":',
    ),
    Patch(
        "handshake.accepted",
        "an accepted notification has a body",
        "wires/handshake.py",
        "        await notified(core, request, user, session, message)\n        await request.answer(202)\n",
        "        await notified(core, request, user, session, message)\n"
        '        await request.answer(202, b"Accepted")\n',
    ),
    Patch(
        "handshake.accepted",
        "a response is answered with 200",
        "wires/handshake.py",
        "        await core.questions.answer(session.key, session.principal, message)\n"
        "        await request.answer(202)\n",
        "        await core.questions.answer(session.key, session.principal, message)\n"
        '        await request.answer(200, b"{}")\n',
    ),
    Patch(
        "handshake.json-or-stream",
        "an answer's content type is not JSON",
        _STREAM,
        "            await self.request.answer(outcome.http, outcome.body)\n            return False\n",
        '            await self.request.answer(outcome.http, outcome.body, b"text/plain")\n            return False\n',
    ),
    Patch(
        "handshake.priming",
        "a stream begins with its first message",
        _STREAM,
        "            await self.writer.send(sse.priming(self.journal.event_id(0)))\n",
        "            pass\n",
    ),
    Patch(
        "handshake.retry",
        "a stream that is closed early just ends",
        _STREAM,
        "await self.writer.end(sse.priming(journal.event_id()))",
        "await self.writer.end()",
    ),
    Patch(
        "handshake.disconnect",
        "a call ends with its reader",
        "calls/logged_duties.py",
        '        Slot(call.platform, "streams", call.user, lambda: outlet.name),\n',
        '        Slot(call.platform, "streams", call.user, lambda: outlet.name),\n'
        '        __import__("mcp_edge.calls.duties", fromlist=["Reader"]).Reader(lambda: outlet.detached),\n',
    ),
    Patch(
        "handshake.cancelled",
        "a cancelled request has an error for its response",
        _STREAM,
        'is_ended = await self._end(END, b"")',
        'is_ended = await self._end(FINAL, jsonrpc.error(self.message[2], -32800, "Cancelled."))',
    ),
    Patch(
        "handshake.cancelled",
        "a cancellation is accepted and dropped",
        _LOAD,
        "        await cancel(core.platform, session.key, session.principal, params)\n",
        "",
    ),
    Patch(
        "handshake.get",
        "a host without streams says that the request is bad",
        "wires/listening.py",
        'MethodNotAllowed("This host holds no streams: poll with POST.", headers=resumption.POST_ONLY)',
        'BadRequest("This host holds no streams: poll with POST.")',
    ),
    Patch(
        "handshake.one-stream",
        "a change is told on the stream of the call, too",
        "sdk/dispatch.py",
        "        await self._changes.publish(self.user.principal, [Change.of(event)])\n",
        "        await self._changes.publish(self.user.principal, [Change.of(event)])\n"
        '        await self.put(jsonrpc.notification(f"notifications/{Change.of(event).kind}/list_changed", None))\n',
    ),
    Patch(
        "handshake.event-ids",
        "the events of a stream have one id",
        "records/stream_log.py",
        'return f"{self.stream}.{self.seq if seq is None else seq}"',
        'return f"{self.stream}.{seq or 0}"',
    ),
    Patch(
        "handshake.replay",
        "a stream is replayed from its beginning",
        "wires/listening.py",
        "LogReader(core.platform, *place)",
        "LogReader(core.platform, place[0], 0)",
    ),
    Patch(
        "handshake.replay",
        "a stream is replayed in every session of its user",
        "wires/resumption.py",
        "found[0].session != session.key or ",
        "",
    ),
    Patch(
        "handshake.session-id",
        "session ids are counted",
        "records/sessions.py",
        'return self._signer.sign("session", mint())',
        'return self._signer.sign("session", f"{len(self._decoded):032x}")',
    ),
    Patch(
        "handshake.no-session",
        "a request without a session id is taken for one of an unknown session",
        _LOAD,
        '        raise BadRequest("The Mcp-Session-Id header is missing: initialize first.", code=-32000)\n',
        '        session_id = b""\n',
    ),
    Patch(
        "handshake.unknown-session",
        "a session serves whoever knows its id",
        "records/sessions.py",
        "session is None or not session.is_of(user) or now >= session.expires",
        "session is None or now >= session.expires",
    ),
    Patch(
        "handshake.unknown-session",
        "a session that has ended is a bad request",
        "records/sessions.py",
        "now >= session.expires:\n            raise NotFound(",
        "now >= session.expires:\n            raise BadRequest(",
    ),
    Patch(
        "handshake.delete",
        "DELETE ends nothing",
        "wires/handshake.py",
        "    await core.sessions.end(await load_session(core, request, user))\n",
        "    await load_session(core, request, user)\n",
    ),
    Patch(
        "handshake.bad-version",
        "every version that looks like one is served",
        _LOAD,
        "if version is not None and version not in _VERSIONS:",
        "if version is not None and not version[:1].isdigit():",
    ),
    Patch(
        "handshake.absent-version",
        "without the header the oldest version counts",
        _LOAD,
        "return RequestConnection(call, session.version,",
        'return RequestConnection(call, call.request.headers.get("mcp-protocol-version", "2025-03-26"),',
    ),
    Patch(
        "handshake.batches",
        "every revision has batches",
        "wires/batch.py",
        "if not REVISIONS[session.version].has_batches:",
        "if not REVISIONS[session.version].version:",
    ),
    Patch(
        "handshake.batches",
        "no revision has batches",
        "protocol/revisions.py",
        'version="2025-03-26", family="handshake", has_batches=True',
        'version="2025-03-26", family="handshake"',
    ),
)

HTTP_SSE = (
    Patch(
        "sse.endpoint",
        "the first event is a message",
        "wires/http_sse/stream.py",
        "\\nevent: endpoint\\n",
        "\\nevent: message\\n",
    ),
    Patch(
        "sse.messages",
        "a POST is answered with 200",
        "wires/http_sse/endpoints.py",
        "await request.answer(202,",
        "await request.answer(200,",
    ),
    Patch(
        "sse.messages",
        "an answer comes as an event of another kind",
        "protocol/sse.py",
        'return b"event: message\\nid: "',
        'return b"event: response\\nid: "',
    ),
)
