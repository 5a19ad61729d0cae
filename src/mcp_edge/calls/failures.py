"""What the client is told of an exception, and what the log says: an exception -> an `Outcome`, once for every wire.

This is the boundary where a bug is caught: it is logged with the call's trace id and answered with a fixed message.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from pydantic import ValidationError

from mcp_edge.calls.core import Core
from mcp_edge.calls.outcome import Outcome, Stop
from mcp_edge.errors import CallerError, EdgeError, Problem, StoreUnavailable
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.request import Header, Request
from mcp_edge.protocol.revisions import REVISIONS
from mcp_edge.records.stream_log import LeaseLost
from mcp_edge.sdk.dispatch import Dispatch

logger = logging.getLogger(__name__)


class Interrupted(MCPError):
    """The instance that ran the call is gone, and the call may not run again."""

    def __init__(self, method: str) -> None:
        super().__init__(
            jsonrpc.INTERNAL_ERROR,
            "The server was interrupted during this call; it may have taken effect in part. "
            "Check before you repeat it.",
            {"interrupted": True, "method": method},
        )


class Suspended(EdgeError):
    """The call waits for the client's answer, and was left to whichever instance the client comes back to."""


def failure(e: Exception, core: Core, call: Dispatch, version: str) -> Outcome:
    """The end of a call of revision `version` that raised `e`."""
    http, data = 200, None
    match e:
        case Suspended():
            return Outcome.stopped(Stop.SUSPENDED)
        case LeaseLost():
            return Outcome.stopped(Stop.LOST)
        case MCPError():
            code, message, data = e.error.code, e.error.message, e.error.data
        case ValidationError():
            code, message, data = jsonrpc.INVALID_PARAMS, "Invalid request parameters", ""
        case EdgeError() if not isinstance(e, (CallerError, StoreUnavailable)):
            code, message = jsonrpc.INTERNAL_ERROR, str(e)
        case _:
            problem = Problem.of(e, call.trace_id)
            problem.write_log(logger)
            code, message, data = problem.code, problem.message, problem.data
            if isinstance(e, EdgeError):  # a bug is the call's alone, so it is no failure of HTTP
                http = problem.status
                _add_headers(call.request, core.headers_of(problem, call.request))
    if http == 200 and REVISIONS[version].maps_errors:
        http = ERROR_CODE_HTTP_STATUS.get(code, 200)
    status = "interrupted" if isinstance(e, Interrupted) else str(code)
    return Outcome(status, jsonrpc.error(call.request_id, code, message, data), http)


def _add_headers(request: Request, headers: Sequence[Header]) -> None:
    """Say them in the response's head, unless it is sent; once, for however many calls of a batch."""
    if not request.begun:
        request.extra += [header for header in headers if header not in request.extra]
