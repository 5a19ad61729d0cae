"""Bounds what is said of a tool's wrong arguments: the SDK lists every error that pydantic finds, with what was sent.

Small arguments are the SDK's to validate, and a short answer stays as the SDK words it. Large arguments are validated
here first, by a validator that stops at the first error of each container. So they have no more errors than the tool's
schema has places. It knows no wire.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import mcp_types as t
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools.base import Tool
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, SchemaError, SchemaValidator

from mcp_edge.protocol.bounds import MAX_URI_CHARS, MOST_VALUES, exceeds, too_many_values
from mcp_edge.sdk.lowlevel import tool_named

logger = logging.getLogger(__name__)

MOST_ERRORS = 10
MAX_ERROR_CHARS = 4096
"""Characters of the text that says what is wrong: a model reads it, and some wires store it."""

_FEW_BYTES = 1024
"""Bytes of a request that is small in every respect, as most are."""
_FEW_VALUES = 200
_FEW_CHARS = 16_384
_FEW_JSON_CHARS = 400
"""Characters of JSON in texts, which the SDK parses: so many hold few values."""
_BEGINNING_CHARS = 4096
_ESCAPE_CHARS = 12
"""Characters of an escaped pair of surrogates, inside of which a text may be cut off."""
_SHORT = 500
"""Characters: each text of the SDK with over `MOST_ERRORS` errors is longer."""
_WORD_CHARS = 300
_BRACKETS = frozenset("[{ \t\r\n")
_CONTAINERS = frozenset({"list", "set", "frozenset", "tuple", "dict"})
_NO_SCHEMA = frozenset({"default", "metadata", "serialization", "config", "cls", "computed_fields"})
"""Members of a core schema in which the name of a container is no type."""

Context = ServerRequestContext[Any, Any]
Handler = Callable[[Context, Any], Awaitable[HandlerResult]]
Lookup = Callable[[str], Tool | None]


def bound_argument_errors(low: Server[Any], server: MCPServer[Any]) -> None:
    """Replace the handler of `tools/call` by one that bounds what it says of wrong arguments."""
    entry = low.get_request_handler("tools/call")
    if entry is not None:
        handler = _bounded(entry.handler, partial(tool_named, server))
        low.add_request_handler("tools/call", entry.params_type, handler)


def _bounded(handler: Handler, tool_of: Lookup) -> Handler:
    async def call(ctx: Context, params: t.CallToolRequestParams) -> HandlerResult:
        arguments = params.arguments
        size: int = getattr(ctx.request, "size", 0)
        if arguments and not 0 < size <= _FEW_BYTES and not _are_few(arguments):
            tool = tool_of(params.name)
            refusal = None if tool is None else _refusal(tool, arguments)
            if refusal is not None:
                return refusal
        result = await handler(ctx, params)
        if type(result) is t.CallToolResult and result.is_error and _is_long(result):
            # A tool's own error may be long. The error is about the arguments if those are still wrong.
            tool = tool_of(params.name)
            return (None if tool is None else _refusal(tool, arguments or {})) or result
        return result

    return call


# -- large or small ----------------------------------------------------------------------------------------------------


def _are_few(arguments: dict[str, Any]) -> bool:
    """Whether the errors in `arguments` are few and short whatever the schema."""
    values = chars = json_chars = 0
    waiting: list[Any] = [arguments]
    while waiting:
        node: Any = waiting.pop()
        values += len(node)
        if values > _FEW_VALUES:
            return False
        if type(node) is dict:
            members = cast("dict[str, Any]", node)
            for name in members:
                chars += len(name)
            node = members.values()
        for value in node:
            if type(value) is str:
                chars += len(value)
                if value[:1] in _BRACKETS:
                    json_chars += len(value)
            elif type(value) is dict or type(value) is list:
                waiting.append(value)
    return chars <= _FEW_CHARS and json_chars <= _FEW_JSON_CHARS


def _is_long(result: t.CallToolResult) -> bool:
    first = result.content[0] if len(result.content) == 1 else None
    return isinstance(first, t.TextContent) and len(first.text) > _SHORT


# -- validation --------------------------------------------------------------------------------------------------------


def _refusal(tool: Tool, arguments: dict[str, Any]) -> t.CallToolResult | None:
    """The SDK's answer to wrong arguments, within its bounds; None when the arguments are right.

    Raises:
        MCPError: the arguments hold too much.
    """
    parsed = _parsed(tool, arguments)
    few = _are_few(parsed)
    model = tool.fn_metadata.arg_model
    try:
        if few:
            model.model_validate(parsed)
        else:
            _impatient(model).validate_python(parsed)
    except ValidationError as e:
        logger.info("Tool %r rejected arguments: %d errors", tool.name, e.error_count())
        text = f"Error executing tool {tool.name}: {_worded(e, few=few)}"
        return t.CallToolResult(content=[t.TextContent(text=text)], is_error=True)
    except Exception:  # noqa: BLE001 # the tool's own validator has a bug: the SDK meets the bug again, and says so
        return None
    return None


def _parsed(tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the SDK validates them: JSON in a text is parsed, unless the parameter is a text.

    Raises:
        MCPError: the arguments hold too many values, or too long a name.
    """
    fields = tool.fn_metadata.arg_model.model_fields.items()
    texts = {each for name, field in fields if field.annotation is str for each in (name, field.alias)}
    for name, value in arguments.items():
        if type(value) is str and len(value) > 2 * MOST_VALUES and name not in texts and _holds_too_much_json(value):
            raise MCPError(t.INVALID_PARAMS, f"The JSON in an argument holds over {MOST_VALUES} values.")
    parsed = tool.fn_metadata.pre_parse_json(arguments)
    if exceeds(parsed, MOST_VALUES, MAX_URI_CHARS):
        raise MCPError(
            t.INVALID_PARAMS,
            f"The arguments hold over {MOST_VALUES} values, or a name of over {MAX_URI_CHARS} characters.",
        )
    return parsed


def _holds_too_much_json(text: str) -> bool:
    beginning = text.lstrip(" \t\r\n")[:_BEGINNING_CHARS]
    if beginning[:1] not in _BRACKETS:
        return False
    try:
        json.loads(beginning)
    except json.JSONDecodeError as e:
        cut_off = e.pos >= len(beginning) - _ESCAPE_CHARS or e.msg.startswith("Unterminated")
        return cut_off and too_many_values(text.encode("utf-8", "surrogatepass"))
    except RecursionError:
        pass  # the SDK meets the same error, and takes the JSON for a text
    return False


_validators: WeakKeyDictionary[type[BaseModel], SchemaValidator] = WeakKeyDictionary()
"""Model -> its impatient validator; the entry goes when the tool that has the model goes."""


def _impatient(model: type[BaseModel]) -> SchemaValidator:
    """The model's validator, changed to stop in each container at the first error."""
    validator = _validators.get(model)
    if validator is None:
        try:
            # Without the validators that nested models have already, which do not stop at an error.
            validator = SchemaValidator(_failing_fast(model.__pydantic_core_schema__), None, False)
        except (SchemaError, TypeError):
            logger.warning("%s: its errors are bounded by the number of its values alone", model.__name__)
            validator = cast(SchemaValidator, model.__pydantic_validator__)
        _validators[model] = validator
    return validator


def _failing_fast(schema: Any) -> Any:
    """A copy of a core schema in which every container stops at its first error."""
    if isinstance(schema, (list, tuple)):
        items = [_failing_fast(each) for each in cast("list[Any]", schema)]
        return items if isinstance(schema, list) else tuple(items)
    if not isinstance(schema, dict):
        return schema
    given = cast("dict[str, Any]", schema)
    copy = {name: value if name in _NO_SCHEMA else _failing_fast(value) for name, value in given.items()}
    if isinstance(kind := given.get("type"), str) and kind in _CONTAINERS:
        copy["fail_fast"] = True
    return copy


# -- words -------------------------------------------------------------------------------------------------------------


def _worded(e: ValidationError, *, few: bool) -> str:
    """What pydantic says of few errors in few characters; of others, the first ones."""
    if few and e.error_count() <= MOST_ERRORS and len(text := str(e)) <= MAX_ERROR_CHARS:
        return text
    errors = e.errors(include_url=False, include_context=False, include_input=False)
    count = len(errors)
    head = f"{count} validation error{'' if count == 1 else 's'} for {e.title}"
    lines, room = [head], MAX_ERROR_CHARS - len(head)
    for error in errors[:MOST_ERRORS]:
        line = _line(error)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    if not few:
        lines.append("(of each list or object the first error)")
    elif count >= len(lines):
        lines.append(f"and {count - len(lines) + 1} more")
    return "\n".join(lines)


def _line(error: ErrorDetails) -> str:
    place = ".".join(str(part)[:_WORD_CHARS] for part in error["loc"])
    return f"{_cut(place)}\n  {_cut(error['msg'])} [type={error['type']}]"


def _cut(text: str) -> str:
    return text if len(text) <= _WORD_CHARS else text[: _WORD_CHARS - 1] + "…"
