"""A logged answer whose handler asks the client: the call is suspended, and goes on wherever the answers are seen.

What was asked is in the stream's head; the answers are in the store. It runs no tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, REQUEST_TIMEOUT

from mcp_edge.calls import elicitation
from mcp_edge.calls.logged import LoggedReply
from mcp_edge.errors import EdgeError, TooMany
from mcp_edge.protocol import jsonrpc
from mcp_edge.records.polling import Pauses
from mcp_edge.records.questions import GRACE_S

if TYPE_CHECKING:
    from mcp_edge.records.quotas import Hold
    from mcp_edge.records.stream_log import Log
    from mcp_edge.sdk.results import Asked

UNSHARED = (
    "This server's instances share no store that could bring the answer back, so nobody can be asked on this wire;"
    " a client of revision 2026-07-28 can be."
)


class Released(EdgeError):
    """The suspended call was left to whichever instance its client comes back to."""


class SuspendableReply(LoggedReply):
    """The answer to one handshake request, begun by a POST or by whoever takes its stream over."""

    @property
    def can_ask(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] # read-only here
        """Whether a question can be held open: not where the response is only sent when the call has ended, nor where
        the answer may arrive at an instance that cannot pass it on.
        """
        return self.platform.streaming and self.platform.shared

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout_s: float | None) -> dict[str, Any]:
        """Ask and hold the call until the answer is in the store."""
        return await elicitation.ask(self._core, self._session, self.emit, method, params, timeout_s)

    async def suspend(self, asked: Asked, digest: str) -> dict[str, Any]:
        """Store what is asked, ask it, and return the answers by input key.

        Raises:
            Released: the client left; the stream is free to be taken over.
            MCPError: the client answered with an error or not in time, or nobody can be asked here.
            TooMany: with the call's arguments the user would have stored too much in this hour.
        """
        if not self.platform.shared:
            raise MCPError(INVALID_REQUEST, UNSHARED)
        head = self.head
        async with self.writer.lock:
            await self._store(asked, digest)
        for key, question in head.asked.items():
            await self.emit(jsonrpc.request(question, head.requests[key]["method"], head.requests[key].get("params")))
        return await self.answers()

    async def _store(self, asked: Asked, digest: str) -> None:
        """Count what is kept from now on, the call's arguments included, and store it. The lock is held, so nobody
        stores what was refused."""
        if self.writer.started and self._journal is None and not self.platform.streaming:
            raise TooMany("The stream is not logged, so nobody can be asked on it.")
        head, core, before = self.head, self._core, copy(self.head)
        head.asked = {key: core.questions.mint(self._session.key) for key in asked.requests}
        head.requests, head.state, head.digest = asked.requests, asked.state, digest
        head.suspended, head.deadline = True, self.platform.clock() + self.platform.settings.question_ttl_s
        head.asked_after = self._journal.seq if self._journal is not None else 0
        try:
            await core.quotas.charge(head.principal, head.pack() + len(head.dump()))
            if not self.writer.started:
                await self._open()
        except BaseException:
            head.restore(before)
            raise
        if self._journal is not None:
            await self._journal.save()

    async def ask_again(self, log: Log) -> None:
        """Ask what the instance that died had stored but not yet logged; `log` is the stream since it was asked."""
        head, missing = self.head, set(self.head.asked.values())
        async for entry in log.news():
            missing = {question for question in missing if question.encode() not in entry.data}
            if not missing:
                return
        for key, question in head.asked.items():
            if question in missing:
                request = head.requests[key]
                await self.emit(jsonrpc.request(question, request["method"], request.get("params")))

    async def answers(self) -> dict[str, Any]:
        """Wait for the answers to what the head says was asked, and mark the call as running again."""
        head, core = self.head, self._core
        most, name = self.platform.settings.max_questions, ",".join(head.asked.values())
        hold = await core.quotas.hold("questions", self._session.principal, most, name)
        try:
            answers = await self._wait_attached(hold)
        finally:
            await hold.release()
        methods = {key: request["method"] for key, request in head.requests.items()}
        head.suspended, head.asked, head.requests = False, {}, {}
        if self._journal is not None:
            async with self.writer.lock:
                await self._journal.save()
        version = self._session.version
        return {key: elicitation.result_of(answer, methods[key], version) for key, answer in answers.items()}

    async def _wait_attached(self, hold: Hold) -> dict[str, dict[str, Any]]:
        head, core = self.head, self._core
        seen: dict[str, bytes] = {}
        async for _ in Pauses(self.platform):
            await hold.keep()
            found = await core.questions.look(head.asked.values(), seen)
            late_s = self.platform.clock() - head.deadline
            if found is not None and late_s < GRACE_S:  # afterwards the sealed state does not open any more
                return {key: found[question] for key, question in head.asked.items()}
            if late_s >= 0:
                raise MCPError(REQUEST_TIMEOUT, "The question was not answered in time.")
            if not self.platform.streaming:
                await self._close_early()  # the client polls with its last event id; nothing is held meanwhile
            if self.writer.detached and self._journal is not None:
                async with self.writer.lock:
                    await self._journal.release()
                    self._settle()  # or the next heartbeat takes the lease back
                raise Released("the client will come back")
        raise AssertionError  # the pauses never end
