"""What a client is answered when the user must open a URL first (MCP 2026-07-28 elicitation, URL Mode Flow).

A handler raises the SDK's `UrlElicitationRequiredError`. A client of 2026-07-28 gets an `InputRequiredResult`, and
calls again when the user has opened the URL. A client of 2025-11-25 gets the error -32042, and calls again, too. A
client that cannot open URLs gets the URL in words. The module knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import mcp_types as t
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError

from mcp_edge.protocol.revisions import REVISIONS
from mcp_edge.records.polling import Backoff
from mcp_edge.tools.current import current_call

KEY = "connect"
"""The key of the request in `inputRequests`; that of a second one has a number behind it."""
PEOPLE_S = 1.0
"""Seconds between two looks at whether the user is done, which takes half a minute."""
BUFFERED_S = 5.0
"""Seconds that a request waits for the user where its response is buffered: the client hears nothing meanwhile."""

_DECLINED = "The user did not open the link, without which this cannot be done."

Context = ServerRequestContext[Any, Any]
Handler = Callable[[Context, Any], Awaitable[HandlerResult]]


class _Answered(Protocol):
    """The params of a request that may hold the client's answers."""

    input_responses: t.InputResponses | None
    request_state: str | None


def register_url_elicitation(low: Server[Any]) -> None:
    """Replace the handlers of the methods whose handlers may raise `UrlElicitationRequiredError`."""
    for method in ("tools/call", "prompts/get", "resources/read"):
        entry = low.get_request_handler(method)
        if entry is not None:
            low.add_request_handler(method, entry.params_type, _eliciting(method, entry.handler))


def _eliciting(method: str, handler: Handler) -> Handler:
    async def handle(ctx: Context, params: Any) -> HandlerResult:
        try:
            if params.input_responses and await _declined(params):
                return _in_words(method, _DECLINED)
            return await handler(ctx, params)
        except UrlElicitationRequiredError as e:
            return _answer(ctx, method, params, e)

    return handle


async def _declined(params: _Answered) -> bool:
    """Whether the user declined to open the URL. If the user accepted, first wait until the account is connected."""
    answer = (params.input_responses or {}).get(KEY)
    if not isinstance(answer, t.ElicitResult):
        return False
    if answer.action != "accept":
        return True
    call = current_call()
    platform, accounts = call.platform, call.platform.accounts
    wait_s = platform.settings.question_ttl_s if platform.streaming else BUFFERED_S
    deadline = platform.clock() + wait_s
    if accounts is not None:
        backoff = Backoff(platform, max(PEOPLE_S, platform.poll_intervals.most_s))
        while True:
            await backoff.next()
            late = platform.clock() >= deadline or platform.drain.draining
            if late or await accounts.token(call.user.principal) is not None:
                break  # the handler asks again when it is late
    return False


def _answer(ctx: Context, method: str, params: _Answered, e: UrlElicitationRequiredError) -> HandlerResult:
    capabilities = ctx.session.client_params.capabilities if ctx.session.client_params else None
    elicitation = capabilities.elicitation if capabilities else None
    if elicitation is None or elicitation.url is None:
        return _in_words(method, " ".join(f"{each.message} {each.url}" for each in e.elicitations))
    if not REVISIONS[ctx.session.protocol_version].has_input_required:
        raise e
    requests: t.InputRequests = {}
    for n, each in enumerate(e.elicitations):
        # 2026-07-28 has no ids of elicitations: by calling again, the client says that the user has opened the URL.
        params_of = each.model_copy(update={"elicitation_id": None})
        requests[KEY if n == 0 else f"{KEY}-{n + 1}"] = t.ElicitRequest(params=params_of)
    # The state holds the user's answers of earlier rounds.
    return t.InputRequiredResult(input_requests=requests, request_state=params.request_state)


def _in_words(method: str, text: str) -> HandlerResult:
    if method != "tools/call":
        raise MCPError(t.INVALID_REQUEST, text)
    return t.CallToolResult(content=[t.TextContent(text=text)], is_error=True)
