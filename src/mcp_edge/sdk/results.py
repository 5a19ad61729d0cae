"""A handler's result, written as each revision of the protocol has it. It runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import mcp_types as t
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import methods
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.protocol.revisions import Revision

_RESULT = TypeAdapter(t.CallToolResult).serializer
_PLAIN_BLOCKS = frozenset({t.TextContent, t.ImageContent, t.AudioContent})


@dataclass(frozen=True, slots=True)
class InputRequired:
    """An `InputRequiredResult` in its wire form: the client is asked before there is a result. Its state is sealed."""

    requests: dict[str, dict[str, Any]]
    """Key -> the server's request `{"method": …, "params": …}`; empty when only the state is to come back."""
    state: str | None
    """`requestState`, which the client sends back with its answers; None where the handler keeps none."""


class ResultWriter:
    """Writes the results of one server."""

    def __init__(self, server_info: dict[str, Any]) -> None:
        """`server_info` is `serverInfo` as the results of 2026-07-28 have it in their `_meta`."""
        self._server_info = server_info
        self._stamp = b',"_meta":' + to_json({t.SERVER_INFO_META_KEY: server_info}) + b"}"

    def write(self, result: Any, revision: Revision) -> bytes:
        """The JSON of a `tools/call`'s result, as the SDK serializes it. Where the SDK's validation surely changes
        nothing, it is left out.

        Raises:
            MCPError: the handler returned an error, or a result that the revision does not know.
        """
        if (
            type(result) is t.CallToolResult
            and result.meta is None
            and result.result_type == "complete"
            and (
                revision.has_any_structured_content
                or result.structured_content is None
                or type(result.structured_content) is dict
            )
        ):
            wire = _plain_result(result)
            if wire is not None:
                return wire[:-1] + b',"resultType":"complete"' + self._stamp if revision.has_result_type else wire
        if isinstance(result, t.ErrorData):
            raise MCPError.from_error_data(result)
        return encode(self.sieve("tools/call", result, revision))

    def sieve(self, method: str, result: HandlerResult, revision: Revision) -> dict[str, Any]:
        """The wire form of a handler's result: `_serialize` and `_stamp_server_info` of mcp 2.3's `ServerRunner`.

        `ServerRunner` also fills in cache hints. No result that comes here has them on the wire: `tools/call` has none,
        and the handshake revisions drop them.

        Raises:
            MCPError: -32603 for a result that the revision does not know.
        """
        wire = plain(result)
        if not revision.has_result_type or wire.get("resultType", "complete") in t.CORE_RESULT_TYPES:
            try:
                wire = methods.serialize_server_result(method, revision.version, wire)
            except ValidationError as e:
                raise MCPError(t.INTERNAL_ERROR, "Handler returned an invalid result") from e
        if revision.has_result_type:
            meta: Any = wire.get("_meta") or {}
            if isinstance(meta, dict) and cast("dict[str, Any]", meta).get(t.SERVER_INFO_META_KEY) is None:
                wire["_meta"] = {**cast("dict[str, Any]", meta), t.SERVER_INFO_META_KEY: self._server_info}
        return wire


def plain(result: HandlerResult) -> dict[str, Any]:
    """The result as a dictionary of JSON values: `_dump_result` of mcp 2.3's runner, for results that are no errors."""
    if result is None:
        return {}
    if isinstance(result, dict):
        return dict(result)
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def input_required(result: Any) -> InputRequired:
    """What an `InputRequiredResult` asks for."""
    wire = plain(result)
    return InputRequired(requests=wire.get("inputRequests") or {}, state=wire.get("requestState"))


def _plain_result(result: t.CallToolResult) -> bytes | None:
    """The JSON of a result of plain blocks, without its `resultType`; None where the SDK must write the result.

    One text, the commonest result, is written without the model's serializer.
    """
    blocks = result.content
    if not all(type(b) in _PLAIN_BLOCKS and b.meta is None and b.annotations is None for b in blocks):
        return None
    try:
        if len(blocks) != 1 or type(blocks[0]) is not t.TextContent:
            return _RESULT.to_json(result, by_alias=True, exclude_none=True, exclude={"result_type"})
        wire = b'{"content":[{"type":"text","text":' + to_json(blocks[0].text)
        if result.structured_content is not None:
            wire += b'}],"structuredContent":' + to_json(result.structured_content, by_alias=True, exclude_none=True)
            return wire + (b',"isError":true}' if result.is_error else b',"isError":false}')
        return wire + (b'}],"isError":true}' if result.is_error else b'}],"isError":false}')
    except ValueError:
        return None  # a lone surrogate, which `encode` escapes
