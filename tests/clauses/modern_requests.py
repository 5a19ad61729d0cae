"""Patches that break what revision 2026-07-28 asks of how a request is taken, and what every revision asks."""

from __future__ import annotations

from tests.clauses.patch import Patch

_WIRE = "wires/modern.py"
_HEADERS = 'raw.get(b"mcp-protocol-version") != VERSION or not method.isascii() or raw.get(b"mcp-method") != method'

REQUESTS = (
    Patch(
        "any.origin",
        "only a POST has its origin checked",
        "protocol/guards.py",
        "if origin not in self._good_origins:",
        'if origin not in self._good_origins and request.method == "POST":',
    ),
    Patch(
        "modern.post-only",
        "GET is taken for one of a session",
        "wires/mcp.py",
        'elif request.raw.get(b"mcp-protocol-version") == modern.VERSION:',
        'elif request.raw.get(b"mcp-protocol-version") == modern.VERSION and request.method == "DELETE":',
    ),
    Patch(
        "modern.no-session",
        "a session id is minted",
        _WIRE,
        "    call.client = envelope.label\n",
        "    call.client = envelope.label\n"
        '    request.extra.append((b"mcp-session-id", core.sessions.mint().encode()))\n',
    ),
    Patch(
        "modern.no-session",
        "a session id must be one of the server's",
        _WIRE,
        '    method, params, request_id = message["method"], message.get("params"), message["id"]\n',
        '    method, params, request_id = message["method"], message.get("params"), message["id"]\n'
        '    if b"mcp-session-id" in request.raw:\n'
        '        await core.sessions.load(request.headers["mcp-session-id"], user)\n',
    ),
    Patch(
        "modern.notification",
        "an accepted notification has a body",
        _WIRE,
        "await request.answer(202)",
        'await request.answer(202, b"{}")',
    ),
    Patch(
        "modern.no-response-no-batch",
        "a response is accepted",
        _WIRE,
        '400, jsonrpc.error(None, jsonrpc.INVALID_REQUEST, "This revision has no client responses.")',
        "202",
    ),
    Patch(
        "modern.no-response-no-batch",
        "the first message of a batch is served",
        _WIRE,
        "    kind = jsonrpc.kind(message)\n",
        "    message = message[0] if type(message) is list and message else message\n"
        "    kind = jsonrpc.kind(message)\n",
    ),
    Patch(
        "modern.version-header",
        "a request may lack its version header",
        _WIRE,
        _HEADERS,
        'raw.get(b"mcp-protocol-version", VERSION) != VERSION or raw.get(b"mcp-method") != method',
    ),
    Patch(
        "modern.method-header",
        "the method's header is not compared",
        _WIRE,
        _HEADERS + ".encode():",
        'raw.get(b"mcp-protocol-version") != VERSION or b"mcp-method" not in raw:',
    ),
    Patch(
        "modern.method-header",
        "the method's header of a notification is not compared",
        _WIRE,
        'if request.headers.get("mcp-method", message["method"]) != message["method"]:',
        'if request.headers.get("mcp-method") == "":',
    ),
    Patch(
        "modern.name-header",
        "the name's header is not compared",
        _WIRE,
        'raw.get(b"mcp-name") == name.encode()',
        'b"mcp-name" in raw',
    ),
    Patch(
        "modern.name-header",
        "the name's header may be missing",
        _WIRE,
        'raw.get(b"mcp-name") == name.encode()',
        'raw.get(b"mcp-name", name.encode()) == name.encode()',
    ),
    Patch(
        "modern.encoded-name",
        "an encoded header is refused",
        _WIRE,
        'if name.startswith(b"mcp-") and not value.isascii():',
        'if name.startswith(b"mcp-") and (not value.isascii() or value.startswith(b"=?")):',
    ),
    Patch(
        "modern.encoded-name",
        "bytes that are not ASCII are compared as Latin-1",
        _WIRE,
        'if name.startswith(b"mcp-") and not value.isascii():',
        'if name.startswith(b"mcp-") and not value:',
    ),
    Patch(
        "modern.param-headers",
        "an argument's header is not compared",
        _WIRE,
        "_unreadable(request) or core.kernel.catalogue.param_headers_mismatch(params, request.headers)",
        "_unreadable(request)",
    ),
    Patch(
        "modern.unsupported-version",
        "a refusal has no data",
        _WIRE,
        "jsonrpc.error(request_id, rejection.code, rejection.message, rejection.data)",
        "jsonrpc.error(request_id, rejection.code, rejection.message)",
    ),
    Patch(
        "modern.envelope",
        "a client's capabilities may be missing",
        _WIRE,
        '    method, params, request_id = message["method"], message.get("params"), message["id"]\n',
        '    method, params, request_id = message["method"], message.get("params"), message["id"]\n'
        '    if params and type(params.get("_meta")) is dict:\n'
        '        params["_meta"].setdefault(t.CLIENT_CAPABILITIES_META_KEY, {})\n',
    ),
    Patch(
        "modern.envelope",
        "a client must name itself",
        "sdk/connection.py",
        "    key = jsonrpc.encode((info, capabilities))\n",
        "    if info is None:\n"
        '        raise BadRequest("The client has no name.", code=jsonrpc.INVALID_PARAMS)\n'
        "    key = jsonrpc.encode((info, capabilities))\n",
    ),
    Patch(
        "modern.removed",
        "ping is served",
        _WIRE,
        '    method, params, request_id = message["method"], message.get("params"), message["id"]\n',
        '    method, params, request_id = message["method"], message.get("params"), message["id"]\n'
        '    if method == "ping":\n'
        '        await request.answer(200, jsonrpc.result(request_id, b"{}"))\n'
        "        return\n",
    ),
    Patch(
        "modern.dual-era",
        "whoever has no session is taken for a client of this revision",
        "wires/mcp.py",
        "modern if modern.claims(request, message) else handshake",
        'modern if modern.claims(request, message) or b"mcp-session-id" not in request.raw else handshake',
    ),
)
