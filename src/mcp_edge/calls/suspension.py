"""A call whose handler asks the client: it is suspended, and goes on wherever the answers are seen.

What was asked is in the stream's head; the answers are in the store. It runs no tool.
"""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, REQUEST_TIMEOUT

from mcp_edge.calls import elicitation
from mcp_edge.calls.failures import Suspended
from mcp_edge.calls.logged_stream import LoggedStream
from mcp_edge.errors import TooMany
from mcp_edge.protocol import jsonrpc
from mcp_edge.protocol.revisions import MODERN
from mcp_edge.records.polling import Backoff
from mcp_edge.records.questions import GRACE_S
from mcp_edge.sdk.results import InputRequired

if TYPE_CHECKING:
    from mcp_edge.calls.call import Call, Result
    from mcp_edge.records.quotas import QuotaSlot
    from mcp_edge.records.stream_head import Head
    from mcp_edge.records.stream_log import LogReader

UNSHARED = (
    "This server's instances share no store that could bring the answer back, so nobody can be asked on this wire;"
    f" a client of revision {MODERN.version} can be."
)
_MAX_ROUNDS = 32


async def suspend(call: Call, required: InputRequired) -> dict[str, Any]:
    """Ask on the handler's behalf; the answers, by input key.

    Raises:
        Suspended: the client left; the stream is free to be taken over.
        MCPError: the client answered with an error or not in time, or nobody can be asked here.
        TooMany: with the call's arguments the user would have stored too much in this hour.
    """
    call.rounds += 1
    if call.rounds > _MAX_ROUNDS:
        raise MCPError(jsonrpc.INTERNAL_ERROR, "The tool asked too many times.")
    digest = await call.core.kernel.catalogue.digest(call.method, call.params)
    outlet = call.outlet
    if isinstance(outlet, LoggedStream):
        await _ask(call, outlet, required, digest)
        answers = await _answers(call, outlet)
    elif outlet.can_ask:  # the call is held where it runs
        questions = [call.ask(r["method"], r.get("params"), None) for r in required.requests.values()]
        answers = dict(zip(required.requests, await asyncio.gather(*questions), strict=True))
    else:
        raise MCPError(INVALID_REQUEST, "The client cannot be asked here; send the request alone.")
    await _check_unchanged(call, digest)
    return answers


async def resume(call: Call, outlet: LoggedStream, log: LogReader) -> Result:
    """Go on with a suspended call that this instance took over; `log` is its stream since it was asked. It raises what
    `suspend` raises."""
    call.rounds += 1
    head = outlet.head
    state, digest = head.state, head.digest
    await _ask_again(call, outlet, log)
    answers = await _answers(call, outlet)
    await _check_unchanged(call, digest)
    return await call.dispatched(state, answers)


async def _check_unchanged(call: Call, digest: str) -> None:
    if await call.core.kernel.catalogue.digest(call.method, call.params) != digest:
        raise MCPError(jsonrpc.INTERNAL_ERROR, "The tool changed while it waited for the answer; call it again.")


async def _ask(call: Call, outlet: LoggedStream, required: InputRequired, digest: str) -> None:
    """Store what is asked, and ask it."""
    if not call.platform.shared:
        raise MCPError(INVALID_REQUEST, UNSHARED)
    async with outlet.writer.lock:
        await _store(call, outlet, required, digest)
    await _put(call, outlet.head, set(outlet.head.asked.values()))


async def _store(call: Call, outlet: LoggedStream, required: InputRequired, digest: str) -> None:
    """Count what is kept from now on, the call's arguments included, and store it. The lock is held, so nobody stores
    what was refused."""
    journal, platform = outlet.journal, call.platform
    if outlet.is_stream and journal is None and not platform.streaming:
        raise TooMany("The stream is not logged, so nobody can be asked on it.")
    head, before = outlet.head, copy(outlet.head)
    head.asked = {key: call.core.questions.mint(outlet.session.key) for key in required.requests}
    head.requests, head.state, head.digest = required.requests, required.state, digest
    head.suspended, head.deadline = True, platform.clock() + platform.settings.question_ttl_s
    head.asked_after = journal.seq if journal is not None else 0
    try:
        await call.core.quotas.charge(head.principal, head.pack() + len(head.dump()))
        await outlet.begin()
    except BaseException:
        head.restore(before)
        raise
    if outlet.journal is not None:
        await outlet.journal.save()


async def _ask_again(call: Call, outlet: LoggedStream, log: LogReader) -> None:
    """Ask what the instance that died had stored but not yet logged."""
    missing = set(outlet.head.asked.values())
    async for entry in log.news():
        missing = {question for question in missing if question.encode() not in entry.data}
        if not missing:
            return
    await _put(call, outlet.head, missing)


async def _put(call: Call, head: Head, questions: set[str]) -> None:
    """Send those of the questions in `head`."""
    for key, question in head.asked.items():
        if question in questions:
            request = head.requests[key]
            await call.put(jsonrpc.request(question, request["method"], request.get("params")))


async def _answers(call: Call, outlet: LoggedStream) -> dict[str, Any]:
    """Wait for the answers to what the head says was asked, and mark the call as running again."""
    head, session = outlet.head, outlet.session
    most, name = call.platform.settings.max_questions, ",".join(head.asked.values())
    slot = await call.core.quotas.take_slot("questions", session.principal, most, name)
    try:
        answers = await _wait(call, outlet, slot)
    finally:
        await slot.release()
    methods = {key: request["method"] for key, request in head.requests.items()}
    head.suspended, head.asked, head.requests = False, {}, {}
    if outlet.journal is not None:
        async with outlet.writer.lock:
            await outlet.journal.save()
    return {key: elicitation.result_of(answer, methods[key], session.version) for key, answer in answers.items()}


async def _wait(call: Call, outlet: LoggedStream, slot: QuotaSlot) -> dict[str, dict[str, Any]]:
    """Look for the answers until they are there, as long as the client is there, too."""
    head, platform = outlet.head, call.platform
    seen: dict[str, bytes] = {}
    backoff = Backoff(platform)
    while True:
        await backoff.next()
        await slot.keep()
        found = await call.core.questions.look(head.asked.values(), seen)
        late_s = platform.clock() - head.deadline
        if found is not None and late_s < GRACE_S:  # afterwards the sealed state does not open any more
            return {key: found[question] for key, question in head.asked.items()}
        if late_s >= 0:
            raise MCPError(REQUEST_TIMEOUT, "The question was not answered in time.")
        if not platform.streaming:
            await outlet.send_away()  # the client polls with its last event id; nothing is held meanwhile
        if outlet.detached and outlet.journal is not None:
            await outlet.release(outlet.journal)
            raise Suspended("the client will come back")
