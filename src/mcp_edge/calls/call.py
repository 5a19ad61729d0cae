"""One request from its exchange to its final response: run, suspend and resume, map errors, log one line.

The one boundary where a bug is caught: it is logged with the request's trace id and answered with a fixed message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from pydantic import ValidationError

from mcp_edge.calls.core import Core
from mcp_edge.calls.reply import PlainReply
from mcp_edge.calls.suspension import Released, SuspendableReply
from mcp_edge.errors import STATUS, CallerError, EdgeError, StoreUnavailable
from mcp_edge.platform import CallEvent
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.request import Header, Request
from mcp_edge.records.stream_head import Head
from mcp_edge.records.stream_log import LeaseLost, Log
from mcp_edge.sdk.connection import MODERN, Link
from mcp_edge.sdk.dispatch import Exchange
from mcp_edge.sdk.results import Asked
from mcp_edge.text.log_text import MAX_CHARS, clipped

logger = logging.getLogger(__name__)

_LABEL = 80
_MAX_QUOTED = 300
_MOST_LISTED = 1000
"""pydantic lists all of its errors or none."""
_MAX_ROUNDS = 32
_NAMES = {"tools/call": "name", "prompts/get": "name"}


class Interrupted(MCPError):
    """The instance that ran the call is gone, and the call may not run again."""

    def __init__(self, method: str) -> None:
        super().__init__(
            jsonrpc.INTERNAL_ERROR,
            "The server was interrupted during this call; it may have taken effect in part. "
            "Check before you repeat it.",
            {"interrupted": True, "method": method},
        )


async def interrupted(method: str) -> bytes:
    """The job of a call that may not run again: its error."""
    raise Interrupted(method)


async def run(
    core: Core,
    x: Exchange,
    link: Link,
    method: str,
    params: dict[str, Any] | None,
    reply: PlainReply,
    job: Coroutine[Any, Any, bytes | Asked],
) -> None:
    """Await `job`, the kernel's result, and answer the request with it; where the handler asks, ask the client first.

    Nothing that the request did raises out of here; the cancellation of the server's own task does.
    """
    started = time.perf_counter()
    assert x.request_id is not None
    http = 200
    try:
        result = reply.watch(job, x.user)
        if not isinstance(result, (bytes, Asked)):  # a union is slower, and this is every call
            result = await result
        if isinstance(result, Asked):
            result = await _ask(core, x, link, method, params, reply, result)
        _heed(reply)
        body = jsonrpc.result(x.request_id, result)
        status = "tool_error" if x.failed else "ok"
        await reply.finish(http, body)
    except asyncio.CancelledError:
        if not _was_ours(reply):
            reply.drop()
            raise
        if reply.refusal is not None:
            http, body, status = failure(reply.refusal, core, x, modern=link.protocol_version == MODERN)
            await reply.finish(http, body)
        else:
            status = reply.why
            await reply.abandon()
    except Released:
        status = "suspended"
        await reply.leave()
    except LeaseLost:
        status = reply.why = "lost"
        await reply.abandon()
    except Exception as e:  # noqa: BLE001 # the boundary: see the module's docstring
        http, body, status = failure(e, core, x, modern=link.protocol_version == MODERN)
        await reply.finish(http, body)
    if "exit_stack" in link.__dict__:
        await _clean_up(link, x)
    _record(core, x, method, params, link.protocol_version, status, (time.perf_counter() - started) * 1000)


async def _clean_up(link: Link, x: Exchange) -> None:
    """Run what the handler left to be run at the end; the response is sent, so a failure is only logged."""
    try:
        await link.aclose()
    except Exception:
        logger.exception("request %s: its clean-up failed", x.trace_id())


def _heed(reply: PlainReply) -> None:
    """Be cancelled where the handler took its cancellation for something else."""
    if reply.why:
        raise asyncio.CancelledError


def _was_ours(reply: PlainReply) -> bool:
    """Whether the cancellation came from the reply; if so, the task goes on to end the response."""
    task = asyncio.current_task()
    if not reply.why or task is None:
        return False
    task.uncancel()
    return True


async def resume(core: Core, x: Exchange, link: Link, head: Head, reply: SuspendableReply, log: Log) -> bytes:
    """Go on with a suspended request that this instance took over; `log` is its stream since it was asked."""
    await reply.ask_again(log)
    answers = await reply.answers()
    asked = Asked(requests=head.requests, state=head.state)
    return await _ask(core, x, link, head.method, head.params, reply, asked, answers, head.digest)


async def _ask(
    core: Core, x: Exchange, link: Link, method: str, params: dict[str, Any] | None, reply: PlainReply,
    asked: Asked, answers: dict[str, Any] | None = None, digest: str | None = None,
) -> bytes:  # fmt: skip
    """Ask on the handler's behalf and run it with the answers, until it has its result."""
    for _ in range(_MAX_ROUNDS):
        if answers is None:
            digest = await core.kernel.catalogue.digest(method, params)
            answers = await reply.suspend(asked, digest)
        if await core.kernel.catalogue.digest(method, params) != digest:
            raise MCPError(jsonrpc.INTERNAL_ERROR, "The tool changed while it waited for the answer; call it again.")
        x.resumed = {"inputResponses": answers}
        if asked.state is not None:
            x.resumed["requestState"] = asked.state
        result = await core.kernel.request(x, link, method, params)
        if not isinstance(result, Asked):
            return result
        asked, answers = result, None
    raise MCPError(jsonrpc.INTERNAL_ERROR, "The tool asked too many times.")


def failure(e: Exception, core: Core, x: Exchange, *, modern: bool) -> tuple[int, bytes, str]:
    """The HTTP status, the error response and the log's status of an exception."""
    http, data = 200, None
    match e:
        case MCPError():
            code, message, data = e.error.code, e.error.message, e.error.data
        case ValidationError():
            code, message, data = jsonrpc.INVALID_PARAMS, "Invalid request parameters", ""
        case ValueError() if (wrong := _wrong_argument(e)) is not None:
            code, message = jsonrpc.INVALID_PARAMS, wrong
        case CallerError():
            code, message, data, http = e.code, e.message, e.data, STATUS[type(e)]
            _add_headers(x.request, core.headers_of(e, x.request))
        case StoreUnavailable():
            logger.error("request %s: %s", x.trace_id(), e)
            code, message, http = jsonrpc.INTERNAL_ERROR, "The store cannot be reached; try again.", 503
            _add_headers(x.request, [(b"retry-after", b"2")])
        case EdgeError():
            code, message = jsonrpc.INTERNAL_ERROR, str(e)
        case _:
            trace = x.trace_id()
            logger.error("request %s failed", trace, exc_info=e)
            code, message = jsonrpc.INTERNAL_ERROR, f"Internal error (request {trace})"
    if modern and http == 200:
        http = ERROR_CODE_HTTP_STATUS.get(code, 200)
    status = "interrupted" if isinstance(e, Interrupted) else str(code)
    return http, jsonrpc.error(x.request_id, code, message, data), status


def _add_headers(request: Request, headers: list[Header]) -> None:
    """Say them in the response's head, unless it is sent; once, for however many calls of a batch."""
    if not request.begun:
        request.extra += [header for header in headers if header not in request.extra]


def _wrong_argument(e: ValueError) -> str | None:
    """What is wrong with a prompt's argument; the SDK wraps what pydantic says of it in two errors of its own."""
    inner = e.__cause__.__cause__ if e.__cause__ else None
    if not isinstance(inner, ValidationError):
        return None
    if inner.error_count() > _MOST_LISTED:
        return f"Invalid arguments: {inner.error_count()} errors"
    first = inner.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part)[:_MAX_QUOTED] for part in first["loc"])
    return f"Invalid argument {place[:_MAX_QUOTED]}: {first['msg'][:_MAX_QUOTED]}"


def _record(
    core: Core, x: Exchange, method: str, params: Mapping[str, Any] | None, version: str, status: str, ms: float
) -> None:
    """One line per call: no argument, no result, no secret."""
    given = params.get(_NAMES.get(method, "")) if params else None
    name = given if type(given) is str else ""
    request_id, subject, client, app = str(x.request_id), x.user.subject, x.client, x.user.client
    if len(method) > _LABEL or len(name) > _LABEL or len(request_id) > _LABEL:  # no call for most
        method, name, request_id = (clipped(text, _LABEL) for text in (method, name, request_id))
    if len(subject) + len(client) + len(app) > MAX_CHARS:
        subject, client, app = (clipped(text) for text in (subject, client, app))
    core.platform.telemetry.call(
        CallEvent(
            version,
            method,
            name,
            status,
            ms,
            request_id,
            x.session.key[:12] if x.session else "",
            subject,
            client,
            app,
        )
    )
