"""JSON-RPC 2.0 messages: bytes in, checked dictionaries out, and the bytes of answers. Pure."""

from __future__ import annotations

from json import dumps as ascii_json
from typing import Any

from pydantic_core import from_json, to_json

from mcp_edge.errors import BadRequest

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

MAX_METHOD_CHARS = 1024
MAX_ID_CHARS = 8192
"""A request's id stands in its messages, its stream's record and the log. Clients use numbers and UUIDs."""

_BEGINNING_BYTES = 4096

Id = int | str


def parse(body: bytes) -> Any:
    """The JSON value of `body`.

    Raises:
        BadRequest: -32700. The body is no JSON (RFC 8259) in UTF-8, is nested over 200 deep, or has too large a number.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as e:
        raise _not_json(e) from None


def parse_beginning(body: bytes) -> Any:
    """The JSON value with which `body` begins, as far as its first kilobytes tell.

    Raises:
        BadRequest: -32700. The body does not begin as JSON.
    """
    beginning = body[:_BEGINNING_BYTES].decode(errors="ignore")
    try:
        return from_json(beginning, allow_inf_nan=False, allow_partial="trailing-strings")
    except ValueError as e:
        raise _not_json(e) from None


def _not_json(e: ValueError) -> BadRequest:
    return BadRequest(f"Parse error: {str(e)[:120]}", code=PARSE_ERROR)


def is_id(value: Any) -> bool:
    """Whether `value` may be a request id (JSON-RPC 2.0 §4, MCP: a string or an integer, never null)."""
    return type(value) is int or (type(value) is str and len(value) <= MAX_ID_CHARS)


def member(value: Any, name: str) -> Any:
    """The member `name` of a JSON object; None where the member is missing, or `value` is no object."""
    found: dict[str, Any] = value
    return found.get(name) if type(value) is dict else None


def kind(message: Any) -> str:
    """`request`, `notification` or `response` (JSON-RPC 2.0 §4, §5).

    Raises:
        BadRequest: -32600. The message is none of them.
    """
    m: dict[str, Any] = message
    if type(message) is not dict:
        raise BadRequest("The body must be one JSON-RPC message.", code=INVALID_REQUEST)
    if m.get("jsonrpc") != "2.0":
        raise BadRequest('"jsonrpc" must be "2.0".', code=INVALID_REQUEST)
    if "method" in m:
        method, params = m["method"], m.get("params")
        if type(method) is not str or (params is not None and type(params) is not dict):
            raise BadRequest('"method" must be text and "params" an object.', code=INVALID_REQUEST)
        if len(method) > MAX_METHOD_CHARS:
            raise BadRequest(f'"method" is over {MAX_METHOD_CHARS} characters.', code=INVALID_REQUEST)
        if "id" not in m:
            return "notification"
        if is_id(m["id"]):
            return "request"
        raise BadRequest(f'"id" must be text of at most {MAX_ID_CHARS} characters or an integer.', code=INVALID_REQUEST)
    if is_id(m.get("id")) and (type(m.get("result")) is dict) != (type(m.get("error")) is dict):
        return "response"
    raise BadRequest("The body is no JSON-RPC request, notification or response.", code=INVALID_REQUEST)


def encode(value: Any) -> bytes:
    """`value` as compact JSON. Text that UTF-8 cannot hold (a lone surrogate) is escaped; infinity becomes null."""
    try:
        return to_json(value, inf_nan_mode="null")
    except ValueError:
        return ascii_json(value, separators=(",", ":")).encode()


def result(request_id: Id, value: bytes) -> bytes:
    """The JSON of a response. `value` is the JSON of the result."""
    return b'{"jsonrpc":"2.0","id":' + encode(request_id) + b',"result":' + value + b"}"


def error(request_id: Id | None, code: int, message: str, data: Any = None) -> bytes:
    """The JSON of an error response. `request_id` is None where the request's id could not be read."""
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return encode({"jsonrpc": "2.0", "id": request_id, "error": body})


def notification(method: str, params: Any) -> bytes:
    """The JSON of a notification."""
    if params is None:
        return encode({"jsonrpc": "2.0", "method": method})
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def request(request_id: Id, method: str, params: Any) -> bytes:
    """The JSON of a request."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "method": method}
    if params is not None:
        body["params"] = params
    return encode(body)
