"""Patches that break what revision 2026-07-28 asks of answers and of streams."""

from __future__ import annotations

from tests.clauses.patch import Patch

ANSWERS = (
    Patch(
        "modern.json-or-stream",
        "a stream ends without its response",
        "calls/outlets.py",
        "await self.writer.end(sse.frame(outcome.body))",
        "await self.writer.end()",
    ),
    Patch(
        "modern.json-or-stream",
        "a change is told on the stream of the call that made it",
        "sdk/dispatch.py",
        "await self._changes.publish(self.user.principal, [Change.of(event)])",
        'await self.put(jsonrpc.notification(f"notifications/{Change.of(event).kind}/list_changed", None))',
    ),
    Patch(
        "modern.no-server-request",
        "a stream has event ids",
        "calls/outlets.py",
        "await self.writer.send(sse.frame(message))",
        'await self.writer.send(sse.frame(message, "1"))',
    ),
    Patch(
        "modern.no-server-request",
        "a question that cannot be held is sent all the same",
        "sdk/dispatch.py",
        "        if not self.outlet.can_ask:\n",
        "        if not self.outlet.can_ask:\n"
        '            await self.put(jsonrpc.request("question", method, params))\n',
    ),
    Patch(
        "modern.disconnect-cancels",
        "a call goes on when its reader has left",
        "wires/modern.py",
        "Reader(lambda: outlet.detached)",
        "Reader(lambda: False)",
    ),
    Patch(
        "modern.unbuffered",
        "proxies may buffer a stream",
        "protocol/sse.py",
        '    (b"x-accel-buffering", b"no"),\n',
        "",
    ),
    Patch(
        "modern.capability",
        "an error has no data",
        "calls/failures.py",
        "e.error.code, e.error.message, e.error.data",
        "e.error.code, e.error.message, None",
    ),
    Patch(
        "modern.unknown-method",
        "every error of a call has the status 200",
        "calls/failures.py",
        "http = ERROR_CODE_HTTP_STATUS.get(code, 200)",
        "http = 200",
    ),
    Patch(
        "modern.resource-not-found",
        "an unknown resource has the code of the revisions before",
        "calls/failures.py",
        "            code, message, data = e.error.code, e.error.message, e.error.data\n",
        "            code, message, data = e.error.code, e.error.message, e.error.data\n"
        '            code = -32002 if getattr(call, "method", "") == "resources/read" else code\n',
    ),
    Patch(
        "modern.unknown-tool",
        "an unknown tool is left to the SDK, which answers with a result",
        "sdk/catalogue.py",
        "if self._schema is not None and type(name) is str and self._schema(name) is None:",
        "if type(name) is str and not name:",
    ),
    Patch(
        "modern.codes",
        "an unknown prompt has a code that is not defined",
        "sdk/catalogue.py",
        'MCPError(t.INVALID_PARAMS, f"Unknown prompt: {name}")',
        'MCPError(-32029, f"Unknown prompt: {name}")',
    ),
    Patch(
        "modern.result-type",
        "the result of a tool has no type",
        "sdk/results.py",
        """wire[:-1] + b',"resultType":"complete"' + self._stamp""",
        "wire[:-1] + self._stamp",
    ),
    Patch(
        "modern.server-info",
        "the result of a tool does not name the server",
        "sdk/results.py",
        """self._stamp = b',"_meta":' + to_json({t.SERVER_INFO_META_KEY: server_info}) + b"}\"""",
        'self._stamp = b"}"',
    ),
    Patch(
        "modern.cacheable",
        "no result says how long it may be cached",
        "sdk/kernel.py",
        "return encode(result)",
        'return encode({name: value for name, value in result.items() if name != "ttlMs"})',
    ),
    Patch(
        "modern.tool-order",
        "a list is shuffled",
        "sdk/pagination.py",
        "        items: list[Any] = getattr(result, field, [])\n",
        "        items: list[Any] = getattr(result, field, [])\n        import random\n        random.shuffle(items)\n",
    ),
    Patch(
        "modern.log-level",
        "every request gets log messages",
        "sdk/kernel.py",
        "session=ServerSession(call, connection, request_meta=meta)",
        "session=ServerSession(call, connection, "
        'request_meta={"io.modelcontextprotocol/logLevel": "debug", **(meta or {})})',
    ),
    Patch(
        "modern.input-required",
        "a tool that asks is suspended, as in a session",
        "sdk/kernel.py",
        "if not revision.has_input_required and methods.is_input_required(result):",
        "if methods.is_input_required(result):",
    ),
    Patch(
        "modern.sealed-state",
        "the state goes to the client in the clear",
        "sdk/kernel.py",
        "result = await self._boundary(ctx, answered)",
        "result = await answered(ctx)",
    ),
    Patch(
        "modern.sealed-state",
        "the state of one user is another's, too",
        "calls/core.py",
        "bind_principal=_bound_principal",
        'bind_principal=lambda _: "anybody"',
    ),
    Patch(
        "modern.sealed-state",
        "a state is good for ten years",
        "calls/core.py",
        "ttl=ttl_s",
        "ttl=10 * 365 * 86400",
    ),
)

_LISTEN = "sdk/subscriptions.py"

LISTEN = (
    Patch(
        "modern.listen-acknowledged",
        "nothing is acknowledged",
        _LISTEN,
        'await call.notify("notifications/subscriptions/acknowledged", {"notifications": honored, "_meta": meta})',
        'await call.put(b\'{"jsonrpc":"2.0","method":"notifications/message"}\')',
    ),
    Patch(
        "modern.listen-acknowledged",
        "every changed list is told",
        _LISTEN,
        'return [""] if asked[change.kind] else []',
        'return [""] if asked else []',
    ),
    Patch(
        "modern.listen-acknowledged",
        "every changed resource is told",
        _LISTEN,
        "[change.uri] if change.uri in subscribed else []",
        "[change.uri]",
    ),
    Patch(
        "modern.listen-id",
        "the messages of every stream bear the same id",
        _LISTEN,
        "meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}",
        'meta = {SUBSCRIPTION_ID_META_KEY: "listen"}',
    ),
    Patch(
        "modern.listen-end",
        "a listen stream ends without a result",
        _LISTEN,
        "        return t.SubscriptionsListenResult(_meta=meta)\n",
        "        from mcp_edge.calls.outcome import Stop\n"
        "        call.stop(Stop.MOVED)\n"
        "        return t.SubscriptionsListenResult(_meta=meta)\n",
    ),
    Patch(
        "modern.listen-keep-alive",
        "nothing is sent on a silent stream",
        "calls/outlets.py",
        "        await self.writer.keep_alive(self._platform.settings.keepalive_s)\n",
        "",
    ),
)
