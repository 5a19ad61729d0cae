"""Revision 2026-07-28 over HTTP: each POST is whole, nothing is remembered, closing the stream cancels."""

from __future__ import annotations

from typing import Any

import mcp_types as t
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    NAME_BEARING_METHODS,
    InboundLadderRejection,
    InboundModernRoute,
    classify_inbound_request,
    unsupported_protocol_version_rejection,
)

from mcp_edge.calls.call import Call
from mcp_edge.calls.core import Core
from mcp_edge.calls.duties import Duties, Flush, Reader, Slot
from mcp_edge.calls.outlets import JsonOrStream
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import MODERN
from mcp_edge.sdk.connection import RequestConnection, envelope_of
from mcp_edge.user import User

VERSION = MODERN.version.encode()


def claims(request: Request, message: Any) -> bool:
    """Whether a POST is of this revision: by its header, or by the envelope in `_meta`."""
    if request.raw.get(b"mcp-protocol-version") == VERSION:
        return True
    meta: Any = jsonrpc.member(jsonrpc.member(message, "params"), "_meta")
    return type(meta) is dict and t.PROTOCOL_VERSION_META_KEY in meta


async def post(core: Core, request: Request, user: User, message: Any) -> None:
    """Answer one POST."""
    kind = jsonrpc.kind(message)
    if kind == "response":
        await request.answer(
            400, jsonrpc.error(None, jsonrpc.INVALID_REQUEST, "This revision has no client responses.")
        )
        return
    if kind == "notification":
        await _acknowledge(request, message)
        return
    method, params, request_id = message["method"], message.get("params"), message["id"]
    rejection = None if _agrees(request, method, params) else _classify(request, message)
    if rejection is None and method == "tools/call" and params and _has_param_headers(core, request, params):
        rejection = _unreadable(request) or core.kernel.catalogue.param_headers_mismatch(params, request.headers)
    if rejection is not None:
        body = jsonrpc.error(request_id, rejection.code, rejection.message, rejection.data)
        await request.answer(ERROR_CODE_HTTP_STATUS.get(rejection.code, 400), body)
        return
    envelope, outlet = envelope_of(params["_meta"]), JsonOrStream(request, core.platform)
    call = Call(core, request, user, None, (method, params, request_id), outlet, duties=_duties)
    call.client = envelope.label
    await call.run(
        RequestConnection(call, MODERN.version, None, envelope.client, envelope.capabilities, certain=envelope.valid)
    )


def _duties(call: Call) -> Duties:
    """A stream of this revision ends with its reader: closing it cancels the call (transports, Cancellation)."""
    outlet = call.outlet
    return Duties(Slot(call.platform, "streams", call.user), Flush(outlet.flush), Reader(lambda: outlet.detached))


async def _acknowledge(request: Request, message: dict[str, Any]) -> None:
    """Accept and drop: this revision defines no client notification that a server acts on."""
    rejection = _contradiction(request, message)
    if rejection is None:
        await request.answer(202)
    else:
        await request.answer(400, jsonrpc.error(None, rejection.code, rejection.message, rejection.data))


def _contradiction(request: Request, message: dict[str, Any]) -> InboundLadderRejection | None:
    """What is wrong with the headers of a notification. Of those only the version is required of it."""
    version = request.headers.get("mcp-protocol-version")
    meta = jsonrpc.member(message.get("params"), "_meta")
    if version is None or jsonrpc.member(meta, t.PROTOCOL_VERSION_META_KEY) not in (None, version):
        return InboundLadderRejection(t.HEADER_MISMATCH, "mcp-protocol-version header does not match the notification")
    if request.headers.get("mcp-method", message["method"]) != message["method"]:
        return InboundLadderRejection(t.HEADER_MISMATCH, "mcp-method header does not match the notification's method")
    return unsupported_protocol_version_rejection(version)


def _agrees(request: Request, method: str, params: Any) -> bool:
    """Whether headers and envelope agree beyond doubt. False lets the SDK's ladder decide and word the refusal."""
    raw = request.raw
    if raw.get(b"mcp-protocol-version") != VERSION or not method.isascii() or raw.get(b"mcp-method") != method.encode():
        return False
    meta = jsonrpc.member(params, "_meta")
    version = jsonrpc.member(meta, t.PROTOCOL_VERSION_META_KEY)
    if version != MODERN.version or t.CLIENT_CAPABILITIES_META_KEY not in meta:
        return False
    key = NAME_BEARING_METHODS.get(method)
    if key is None:
        return True
    name = jsonrpc.member(params, key)
    return type(name) is str and name.isascii() and raw.get(b"mcp-name") == name.encode() and not name.startswith("=?")


def _classify(request: Request, message: dict[str, Any]) -> InboundLadderRejection | None:
    verdict = classify_inbound_request(message, headers=request.headers)
    if isinstance(verdict, InboundModernRoute):
        return _unreadable(request) or _missing_name(request, message)
    return verdict


def _unreadable(request: Request) -> InboundLadderRejection | None:
    """A header of this revision is ASCII, and Base64 where what it says is not (MCP 2026-07-28 transports).

    As Latin-1 its bytes could agree with the body, and something in between could read another value in them.
    """
    for name, value in request.pairs:
        if name.startswith(b"mcp-") and not value.isascii():
            return InboundLadderRejection(t.HEADER_MISMATCH, f"{name.decode()} header is not ASCII: send it in Base64")
    return None


def _missing_name(request: Request, message: dict[str, Any]) -> InboundLadderRejection | None:
    """`Mcp-Name` is required where the body names something; the SDK's ladder lets a body without a name pass."""
    key = NAME_BEARING_METHODS.get(message["method"])
    if key is not None and message["params"].get(key) is None and b"mcp-name" in request.raw:
        return InboundLadderRejection(t.HEADER_MISMATCH, f"mcp-name header is present but the body has no {key!r}")
    return None


def _has_param_headers(core: Core, request: Request, params: dict[str, Any]) -> bool:
    return core.kernel.catalogue.has_param_headers(params.get("name"))
