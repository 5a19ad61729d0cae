"""A tool, prompt or resource that needs the user to open a link first: what its client is answered.

A handler raises the SDK's `UrlElicitationRequiredError`; each client hears it in its own way. On 2026-07-28 it is an
`InputRequiredResult`, and the client comes back when the user has opened the link (MCP 2026-07-28 elicitation, URL Mode
Flow). On 2025-11-25 it is the error -32042, after which the client calls again. A client that cannot open links is
given the link in words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import mcp_types as t
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError

from mcp_edge.protocol.revisions import REVISIONS
from mcp_edge.records.polling import Pauses
from mcp_edge.tools.current import current_call

KEY = "connect"
"""The question's key in `inputRequests`; a second one has a number behind it."""
PEOPLE_S = 1.0
"""Seconds between two looks at what takes a person half a minute."""
BUFFERED_S = 5.0
"""Seconds that a request waits for the user where its answer is buffered and nothing keeps its client patient."""

_DECLINED = "The user did not open the link, without which this cannot be done."

Context = ServerRequestContext[Any, Any]
Handler = Callable[[Context, Any], Awaitable[HandlerResult]]


class _Answered(Protocol):
    """Params of a request that may carry answers."""

    input_responses: t.InputResponses | None
    request_state: str | None


def register_connecting(low: Server[Any]) -> None:
    """Wrap the handlers of the methods that may ask."""
    for method in ("tools/call", "prompts/get", "resources/read"):
        entry = low.get_request_handler(method)
        if entry is not None:
            low.add_request_handler(method, entry.params_type, _asking(method, entry.handler))


def _asking(method: str, handler: Handler) -> Handler:
    async def handle(ctx: Context, params: Any) -> HandlerResult:
        try:
            if params.input_responses and await _declined(params):
                return _in_words(method, _DECLINED)
            return await handler(ctx, params)
        except UrlElicitationRequiredError as e:
            return _answer(ctx, method, params, e)

    return handle


async def _declined(params: _Answered) -> bool:
    """Whether the user will not open the link. If he does, wait until the account is connected: that takes a while."""
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
        async for _ in Pauses(platform, max(PEOPLE_S, platform.cadence.most)):
            late = platform.clock() >= deadline or platform.drain.draining
            if late or await accounts.token(call.user.principal) is not None:
                break  # when it is late, the handler asks again
    return False


def _answer(ctx: Context, method: str, params: _Answered, e: UrlElicitationRequiredError) -> HandlerResult:
    capabilities = ctx.session.client_params.capabilities if ctx.session.client_params else None
    elicitation = capabilities.elicitation if capabilities else None
    if elicitation is None or elicitation.url is None:
        return _in_words(method, " ".join(f"{asked.message} {asked.url}" for asked in e.elicitations))
    if not REVISIONS[ctx.session.protocol_version].has_input_required:
        raise e
    requests: t.InputRequests = {}
    for n, asked in enumerate(e.elicitations):
        # 2026-07-28 has no ids of elicitations any more: the retry says that the user has gone there.
        params_of = asked.model_copy(update={"elicitation_id": None})
        requests[KEY if n == 0 else f"{KEY}-{n + 1}"] = t.ElicitRequest(params=params_of)
    # What the user has answered in earlier rounds stays known.
    return t.InputRequiredResult(input_requests=requests, request_state=params.request_state)


def _in_words(method: str, text: str) -> HandlerResult:
    if method != "tools/call":
        raise MCPError(t.INVALID_REQUEST, text)
    return t.CallToolResult(content=[t.TextContent(text=text)], is_error=True)
