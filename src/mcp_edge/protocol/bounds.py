"""How much one JSON-RPC message may hold, whatever it says. Pure: it knows no wire, no store and no tool.

The bytes of a body are bounded elsewhere. What is made of them is not in proportion to them: a JSON value of two bytes
becomes an object of a hundred, and where it is wrong, several errors of three hundred each; a name comes back in
answers, events, records and log lines. So values are counted before they are read, and names are measured before
anything is done with them. Each check begins with one that costs next to nothing and that all common messages pass.
"""

from __future__ import annotations

import math
from typing import Any, cast

import mcp_types as t

from mcp_edge.errors import BadRequest, TooLarge
from mcp_edge.protocol import jsonrpc

MOST_VALUES = 100_000
"""JSON values in one body, a batch's together. 100,000 of the worst kind are read in 30 ms and held in 20 MB; the
4 MiB that a body may have would be two million."""
MOST_PARAMETERS = 5_000
"""JSON values in a message besides the arguments of a tool: the SDK tries each of them as up to twenty types."""
MAX_KEY_CHARS = 1024
"""A member's name, outside of a tool's arguments: pydantic copies it into each error below it."""
MAX_NAME_CHARS = 1024
MAX_URI_CHARS = 8192
MAX_TOKEN_CHARS = 256
"""A progress token is in every progress message, and each of those is stored; clients use numbers and UUIDs."""
MAX_ANSWER_BYTES = 256 * 1024
"""The client's answer to one question: what a user typed, or what a model said."""

_CERTAIN_BYTES = 1024
"""No name or URI in a body of this size is too long."""
_MAX_TOKEN_BITS = 4 * MAX_TOKEN_CHARS
"""More than a number of 256 digits has."""
_FEW_BYTES = 4096
"""No body of this size holds enough values or long enough names of members to matter."""
_MOST_QUOTES = 4 * MOST_VALUES
_WORDS = {"name": MAX_NAME_CHARS, "uri": MAX_URI_CHARS, "cursor": MAX_URI_CHARS, "protocolVersion": MAX_NAME_CHARS}
"""Params that come back to the client, or go into the log, as they are."""


def parse(body: bytes) -> Any:
    """The JSON value of `body`, as `jsonrpc.parse`.

    Raises:
        TooLarge: it holds over `MOST_VALUES` JSON values; nothing is made of it.
        BadRequest: it is no JSON.
    """
    if len(body) > 2 * MOST_VALUES and too_many_values(body):  # each value but the last is followed by one byte more
        jsonrpc.parse_beginning(body)
        raise TooLarge(f"The body holds over {MOST_VALUES} JSON values.", code=jsonrpc.INVALID_REQUEST)
    return jsonrpc.parse(body)


def too_many_values(text: bytes) -> bool:
    """Whether JSON text holds over `MOST_VALUES` values. Of what is no JSON the answer means nothing."""
    if 1 + text.count(b",") + text.count(b"[") + text.count(b"{") <= MOST_VALUES:
        return False
    # Exactly: what is inside of strings does not count.
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > _MOST_QUOTES:
        return True  # a string is a value, or a member's name beside one
    outside = b"0".join(bare.split(b'"')[::2]).translate(None, b" \t\r\n")
    containers = outside.count(b"[") + outside.count(b"{") - outside.count(b"[]") - outside.count(b"{}")
    return 1 + outside.count(b",") + containers > MOST_VALUES


def check(message: Any, size: int) -> None:
    """Check a message, or each of a batch, that was read from `size` bytes.

    Raises:
        BadRequest: a name in it is too long, or it holds too much besides a tool's arguments.
        TooLarge: it answers a question at too great a length.
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
    """Check a message whose bytes are not known.

    Raises:
        TooLarge: as `parse` and `check`.
        BadRequest: as `check`; or its id or method is too long.
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
    """Measure what answers a question: a response, or in a request of 2026-07-28 each of its `inputResponses`."""
    if "method" in message:
        given: Any = params.get("inputResponses")
        answers = list(cast("dict[str, Any]", given).values()) if type(given) is dict else list[Any]()
    else:
        answers = [{name: message[name] for name in ("result", "error") if name in message}]
    if any(len(jsonrpc.encode(answer)) > MAX_ANSWER_BYTES for answer in answers):
        raise TooLarge(f"The answer to a question is over {MAX_ANSWER_BYTES // 1024} KiB.", code=jsonrpc.INVALID_PARAMS)


def _check_words(params: dict[str, Any]) -> None:
    """Measure what is named in `params`, wherever a method of the protocol names something."""
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
    """Whether a JSON value holds more than `most` values, or a member with a longer name."""
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
