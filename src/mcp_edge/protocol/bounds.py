"""How much one JSON-RPC message may hold, whatever it says. Pure: it knows no wire, no store and no tool.

The bytes of a body are bounded elsewhere. What they become is out of proportion: a JSON value of two bytes becomes an
object of a hundred, and a wrong value several errors of three hundred each. A name comes back in answers, events,
records and log lines. So values are counted before they are read, and names are measured before they are used. Each
check begins with one that costs next to nothing, and that all common messages pass.
"""

from __future__ import annotations

import math
from typing import Any, cast

import mcp_types as t

from mcp_edge.errors import BadRequest, TooLarge
from mcp_edge.protocol import jsonrpc

MOST_VALUES = 100_000
"""JSON values in one body, those of a batch together. To read 100,000 of the worst kind takes 30 ms and 20 MB; a body
of 4 MiB could hold two million."""
MOST_PARAMETERS = 5_000
"""JSON values in a message besides a tool's arguments. The SDK tries each value as up to twenty types."""
MAX_KEY_CHARS = 1024
"""A member's name, outside of a tool's arguments. pydantic copies the name into each error below it."""
MAX_NAME_CHARS = 1024
MAX_URI_CHARS = 8192
MAX_TOKEN_CHARS = 256
"""Each progress message has the token, and is stored. Clients use numbers and UUIDs."""
MAX_ANSWER_BYTES = 256 * 1024
"""The JSON of a client's answer to one question: what a user typed, or what a model said."""

_CERTAIN_BYTES = 1024
"""No name or URI in a body of this size is too long."""
_MAX_TOKEN_BITS = 4 * MAX_TOKEN_CHARS
"""A number of 256 digits has fewer."""
_FEW_BYTES = 4096
"""No body of this size holds too many values, or too long a name of a member."""
_MOST_QUOTES = 4 * MOST_VALUES
_WORDS = {"name": MAX_NAME_CHARS, "uri": MAX_URI_CHARS, "cursor": MAX_URI_CHARS, "protocolVersion": MAX_NAME_CHARS}
"""Member of params that goes to the client or into the log as it is -> its most characters."""


def parse(body: bytes) -> Any:
    """The JSON value of `body`, as `jsonrpc.parse`.

    Raises:
        TooLarge: the body holds over `MOST_VALUES` JSON values. None of them is made.
        BadRequest: the body is no JSON.
    """
    if len(body) > 2 * MOST_VALUES and too_many_values(body):  # each value but the last is followed by one byte more
        jsonrpc.parse_beginning(body)
        raise TooLarge(f"The body holds over {MOST_VALUES} JSON values.", code=jsonrpc.INVALID_REQUEST)
    return jsonrpc.parse(body)


def too_many_values(text: bytes) -> bool:
    """Whether JSON text holds over `MOST_VALUES` values. For other text the answer means nothing."""
    if 1 + text.count(b",") + text.count(b"[") + text.count(b"{") <= MOST_VALUES:
        return False
    # Count again, exactly: what is inside of strings does not count.
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > _MOST_QUOTES:
        return True  # each string is a value, or the name of one
    outside = b"0".join(bare.split(b'"')[::2]).translate(None, b" \t\r\n")
    containers = outside.count(b"[") + outside.count(b"{") - outside.count(b"[]") - outside.count(b"{}")
    return 1 + outside.count(b",") + containers > MOST_VALUES


def check(message: Any, size: int) -> None:
    """Check a message, or each message of a batch. `size` is the number of bytes that were read.

    Raises:
        BadRequest: a name is too long, or a message holds too much besides a tool's arguments.
        TooLarge: the answer to a question is too long.
    """
    if size <= MAX_TOKEN_CHARS:
        return
    one: dict[str, Any] = message
    if type(message) is dict:
        if size > _CERTAIN_BYTES or _has_token(one.get("params")):
            _check_one(one, size)
        return
    batch: list[Any] = message
    for each in batch if type(message) is list else ():
        member: dict[str, Any] = each
        if type(each) is dict:
            _check_one(member, size)


def _has_token(given: Any) -> bool:
    params: dict[str, Any] = given
    meta: Any = params.get("_meta") if type(given) is dict else None
    return type(meta) is dict and "progressToken" in meta


def check_whole(message: dict[str, Any]) -> None:
    """Check a message whose size in bytes is unknown.

    Raises:
        TooLarge: as `parse` and `check`.
        BadRequest: as `check`, or the message's id or method is too long.
    """
    if exceeds(message, MOST_VALUES, MAX_URI_CHARS):
        raise TooLarge(f"The message holds over {MOST_VALUES} JSON values.", code=jsonrpc.INVALID_REQUEST)
    jsonrpc.kind(message)
    _check_one(message, math.inf)


def _check_one(message: dict[str, Any], size: float) -> None:
    given: Any = message.get("params")
    params = cast("dict[str, Any]", given) if type(given) is dict else dict[str, Any]()
    if "_meta" in params:
        _check_token(params["_meta"])
    if size <= _CERTAIN_BYTES:
        return
    _check_words(params)
    if size > _FEW_BYTES:
        rest = message
        if params and message.get("method") == "tools/call":
            rest = {**message, "params": {name: params[name] for name in params if name != "arguments"}}
        if exceeds(rest, MOST_PARAMETERS, MAX_KEY_CHARS):
            raise BadRequest(
                f"The message holds over {MOST_PARAMETERS} values, or a name of over {MAX_KEY_CHARS} characters,"
                " besides the arguments of a tool.",
                code=jsonrpc.INVALID_PARAMS,
            )
    if size > MAX_ANSWER_BYTES:
        _check_answers(message, params)


def _check_token(meta: Any) -> None:
    token = jsonrpc.member(meta, "progressToken")
    if (type(token) is str and len(token) > MAX_TOKEN_CHARS) or (
        type(token) is int and token.bit_length() > _MAX_TOKEN_BITS
    ):
        raise BadRequest(f'"progressToken" is over {MAX_TOKEN_CHARS} characters.', code=jsonrpc.INVALID_PARAMS)


def _check_answers(message: dict[str, Any], params: dict[str, Any]) -> None:
    """Measure the answers to questions: a response, or each of a request's `inputResponses` (MCP 2026-07-28)."""
    if "method" in message:
        given: Any = params.get("inputResponses")
        answers = list(cast("dict[str, Any]", given).values()) if type(given) is dict else list[Any]()
    else:
        answers = [{name: message[name] for name in ("result", "error") if name in message}]
    if any(len(jsonrpc.encode(answer)) > MAX_ANSWER_BYTES for answer in answers):
        raise TooLarge(f"The answer to a question is over {MAX_ANSWER_BYTES // 1024} KiB.", code=jsonrpc.INVALID_PARAMS)


def _check_words(params: dict[str, Any]) -> None:
    """Measure each name in `params`, wherever a method of the protocol has one."""
    meta, ref = params.get("_meta"), params.get("ref")
    found = [(name, params.get(name), most) for name, most in _WORDS.items()]
    found += [(f"ref.{name}", jsonrpc.member(ref, name), _WORDS[name]) for name in ("name", "uri")]
    found += [
        ("argument.name", jsonrpc.member(params.get("argument"), "name"), MAX_NAME_CHARS),
        (t.PROTOCOL_VERSION_META_KEY, jsonrpc.member(meta, t.PROTOCOL_VERSION_META_KEY), MAX_NAME_CHARS),
    ]
    for name, value, most in found:
        if type(value) is str and len(value) > most:
            raise BadRequest(f'"{name}" is over {most} characters.', code=jsonrpc.INVALID_PARAMS)


def exceeds(value: Any, most: int, max_key_chars: int) -> bool:
    """Whether a JSON value holds more than `most` values, or a member's name of over `max_key_chars` characters."""
    count, waiting = 1, [value]
    while waiting:
        node: Any = waiting.pop()
        if type(node) is dict:
            members = cast("dict[str, Any]", node)
            if members and len(max(members, key=len)) > max_key_chars:
                return True
            inner: Any = members.values()
        elif type(node) is list:
            inner = cast("list[Any]", node)
        else:
            continue
        count += len(inner)
        if count > most:
            return True
        waiting += [each for each in inner if isinstance(each, (dict, list))]
    return False
