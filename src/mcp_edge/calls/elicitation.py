"""An imperative question (`ctx.elicit`, `create_message`, `list_roots`): sent, held, answered through the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, INVALID_REQUEST, REQUEST_TIMEOUT
from mcp_types.methods import CLIENT_RESULTS, validate_client_result
from pydantic import ValidationError

from mcp_edge.calls.core import Core
from mcp_edge.errors import TooMany
from mcp_edge.protocol import jsonrpc
from mcp_edge.records.questions import Unanswered
from mcp_edge.records.sessions import Session


async def ask(
    core: Core,
    session: Session,
    emit: Callable[[bytes], Awaitable[None]],
    method: str,
    params: Mapping[str, Any] | None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Send the request with `emit` and hold the call until its result is in the store.

    Raises:
        MCPError: the client answered with an error or not in time, or the principal has too many open questions.
    """
    settings = core.platform.settings
    question = core.questions.mint(session.key)
    try:
        hold = await core.quotas.take_slot("questions", session.principal, settings.max_questions)
    except TooMany as e:  # inside a tool anything else would be taken for the tool's bug
        raise MCPError(INVALID_REQUEST, e.message) from e
    try:
        await emit(jsonrpc.request(question, method, params))
        deadline = core.platform.clock() + (timeout_s or settings.question_ttl_s)
        answers = await core.questions.wait([question], deadline, hold)
    except Unanswered as e:
        raise MCPError(REQUEST_TIMEOUT, str(e)) from e
    except TooMany as e:
        raise MCPError(INVALID_REQUEST, e.message) from e
    finally:
        await hold.release()
    return result_of(answers[question], method, session.version)


def result_of(answer: dict[str, Any], method: str, version: str) -> dict[str, Any]:
    """The result in the client's response to `method`.

    Raises:
        MCPError: the response is an error, or no result of that method in that revision.
    """
    error: Any = answer.get("error")
    if not isinstance(error, dict):
        _check(answer["result"], method, version)
        return answer["result"]
    fields = cast("dict[str, Any]", error)
    code, message = fields.get("code"), fields.get("message")
    raise MCPError(
        code if type(code) is int else jsonrpc.INTERNAL_ERROR,
        message if type(message) is str else "The client refused.",
        fields.get("data"),
    )


def _check(result: dict[str, Any], method: str, version: str) -> None:
    if (method, version) not in CLIENT_RESULTS:
        return  # a method that only the handler knows
    try:
        validate_client_result(method, version, result)
    except ValidationError as e:
        raise MCPError(INVALID_PARAMS, f"The client's answer to {method} is malformed.") from e
