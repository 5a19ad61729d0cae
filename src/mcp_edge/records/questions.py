"""Questions to the client (elicitation, sampling, roots): their ids, their answers in the store, the wait for them.

An answer may reach any instance, which stores and acknowledges it. The request that waits finds the answer in the
store. Questions know no wire and run no tool.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from mcp_edge.errors import BadRequest, EdgeError, StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.protocol.signing import Signer, mint
from mcp_edge.records.keys import ANSWER
from mcp_edge.records.polling import Backoff
from mcp_edge.records.quotas import Quotas, QuotaSlot
from mcp_edge.text.hashing import short_hash

FORMAT = 1
GRACE_S = 60
"""Seconds for which an answer is kept after the question's time was up. Until then it counts, where nobody has looked
for it meanwhile: the client may have been away, or is looked after seldom."""


class Unanswered(EdgeError):
    """The question's time is up, or this instance stops waiting for the answer."""


class Questions:
    """The questions of every session, with ids that only the server can make."""

    def __init__(self, platform: Platform, signer: Signer) -> None:
        self._platform = platform
        self._signer = signer

    def mint(self, session: str) -> str:
        """A new question id, bound to `session` (the hash of its id) by a MAC."""
        return self._signer.sign(f"question/{session}", mint())

    async def answer(self, session: str, principal: str, message: dict[str, Any]) -> None:
        """Store the client's response `message` (JSON-RPC). The first one counts; a repeated one changes nothing.

        Raises:
            BadRequest: this session was never asked that.
            TooMany: the principal has stored too much in this hour.
        """
        question = message["id"]
        if not isinstance(question, str) or self._signer.verify(f"question/{session}", question) is None:
            raise BadRequest("This session was never asked that: the response's id is unknown.")
        body = encode({"v": FORMAT, **{k: message[k] for k in ("result", "error") if k in message}})
        await Quotas(self._platform).charge(principal, len(body))
        ttl_s, nonce = self._platform.settings.question_ttl_s + GRACE_S, short_hash(body.decode())
        await self._platform.atomics.create(_key(question), body, nonce=nonce, ttl_s=ttl_s)

    async def look(self, questions: Collection[str], seen: dict[str, bytes]) -> dict[str, dict[str, Any]] | None:
        """The answers by question id, or None while one is missing or the store is away.

        An answer is an object with `result` or `error`. `seen` is what earlier looks of the same wait have found, and
        this look adds to it: so each answer is read once, however long the others take.
        """
        for question in questions:
            if question in seen:
                continue
            try:
                entry = await self._platform.atomics.get(_key(question))
            except StoreUnavailable:
                return None  # it may be back before the time is up
            if entry is None:
                return None
            seen[question] = entry.value
        return {question: json.loads(seen[question]) for question in questions}

    async def wait(self, questions: Collection[str], deadline: float, slot: QuotaSlot) -> dict[str, dict[str, Any]]:
        """Wait until every question is answered, and keep `slot` meanwhile. The answers are as `look` gives them.

        Raises:
            Unanswered: `deadline` (epoch seconds) has passed, or the process stops.
            TooMany: the slot is lost.
        """
        seen: dict[str, bytes] = {}
        backoff = Backoff(self._platform)
        while True:
            await backoff.next()
            await slot.keep()
            if (answers := await self.look(questions, seen)) is not None:
                return answers
            if self._platform.clock() >= deadline:
                raise Unanswered("The question was not answered in time.")
            if self._platform.drain.expired:
                raise Unanswered("The server is restarting; please call again.")


def _key(question: str) -> str:
    return f"{ANSWER}{short_hash(question)}"
