"""Whatever the order of what happens to grants, and wherever a process ends or the store fails: at most one live family
per code, a family that was ended never answers again, and one that is alive is never lost."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mcp_edge.auth.server.grants.issuing import Tokens
from mcp_edge.auth.server.model import Client, OAuthError
from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.memory import open_memory
from mcp_edge.storage.ports import AtomicStore, RecordStore
from mcp_edge.storage.sqlite import open_sqlite
from tests.auth.server.granting import ANN, APP, OTHER, Fate, GrantInstance, Killed
from tests.support.clock import Clock

T = TypeVar("T")

CODE_TTL_S, ACCESS_TTL_S, REFRESH_TTL_S, GRACE_S = 60, 600, 3000, 45
BROKEN = object()
"""The end of what was killed, or could not reach the store: nobody knows what it did."""
WHOLE = st.none()
ACCIDENTS = WHOLE | st.tuples(st.integers(1, 6), st.sampled_from(list(Fate)))
WHICH = st.integers(0, 30)


@dataclass
class Family:
    """A grant as its client, and the law, know it."""

    code: str
    code_until: float
    client: Client
    handed_out: list[Tokens] = field(default_factory=list[Tokens])
    """What the client got, the latest last."""
    redemptions: int = 0
    tried: bool = False
    """Whether the code may be used: a redemption succeeded, or broke off."""
    ended: bool = False
    doubtful: bool = False
    """Whether something that ends it broke off."""
    refresh_until: float = 0
    """Until when the latest refresh token is sure to be good."""
    grace_sure_until: float = 0
    grace_until: float = 0
    """Until when the one before it gets the same answer: surely, and at most. They differ when its first use broke off,
    since nobody knows which use was the first that was made."""
    access_until: float = 0
    broke_at: float | None = None
    """When the latest refresh token was first tried, if its answer never came."""

    @property
    def sure(self) -> bool:
        """Whether it must be alive, as far as time allows."""
        return bool(self.handed_out) and not self.ended and not self.doubtful


class Machine(RuleBasedStateMachine):
    """Grants beside what their clients know."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.granting = GrantInstance(
            *self.open(),
            self.clock,
            code_ttl_s=CODE_TTL_S,
            access_token_ttl_s=ACCESS_TTL_S,
            refresh_token_ttl_s=REFRESH_TTL_S,
            refresh_grace_s=GRACE_S,
        )
        self.families: list[Family] = []

    def open(self) -> tuple[RecordStore, AtomicStore]:
        return open_memory(self.clock)

    def teardown(self) -> None:
        self.runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def attempt(
        self, accident: tuple[int, Fate] | None, work: Callable[[GrantInstance], Awaitable[T]]
    ) -> T | str | object:
        """What `work` gives at a new instance; an error's name; or `BROKEN`."""

        async def attempted() -> T | str | object:
            trouble = self.granting.trouble(*accident) if accident else None
            try:
                return await work(self.granting.elsewhere(trouble))
            except OAuthError as e:
                return e.error
            except (Killed, StoreUnavailable):
                return BROKEN

        return self.run(attempted())

    def family(self, which: int) -> Family:
        return self.families[which % len(self.families)]

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(client=st.sampled_from([APP, OTHER]))
    def approve(self, client: Client) -> None:
        code = self.run(self.granting.code(client=client))
        self.families.append(Family(code, self.clock.now + CODE_TTL_S, client))

    @rule(seconds=st.sampled_from([1, 10, GRACE_S, 100, ACCESS_TTL_S, REFRESH_TTL_S]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.families)
    @rule(which=WHICH, accident=ACCIDENTS)
    def redeem(self, which: int, accident: tuple[int, Fate] | None) -> None:
        family = self.family(which)
        found = self.attempt(accident, lambda granting: granting.redeem(family.code, family.client))
        if isinstance(found, Tokens):
            assert not family.redemptions
            assert not family.ended
            assert self.clock.now < family.code_until
            family.redemptions += 1
            self._got(family, found)
        elif found is BROKEN:
            family.doubtful = family.doubtful or family.tried
        else:
            assert found == "invalid_grant"
            assert family.tried or family.doubtful or self.clock.now >= family.code_until
            family.ended = True
        family.tried = True

    @precondition(lambda self: self.families)
    @rule(which=WHICH, accident=ACCIDENTS)
    def refresh(self, which: int, accident: tuple[int, Fate] | None) -> None:
        """By the latest token."""
        family = self.family(which)
        if not family.handed_out:
            return
        token = family.handed_out[-1].refresh_token
        found = self.attempt(accident, lambda granting: granting.refresh(token, family.client))
        if isinstance(found, Tokens):
            assert not family.ended
            self._got(family, found)
        elif found is BROKEN:
            if family.broke_at is None:
                family.broke_at = self.clock.now
            # For so long the answer is kept, if it was made.
            family.refresh_until = min(family.refresh_until, family.broke_at + GRACE_S)
        else:
            assert found == "invalid_grant"
            assert not (family.sure and self.clock.now < family.refresh_until)
            family.ended = True

    @precondition(lambda self: self.families)
    @rule(which=WHICH, back=st.integers(1, 3), accident=ACCIDENTS)
    def refresh_by_an_older_token(self, which: int, back: int, accident: tuple[int, Fate] | None) -> None:
        family = self.family(which)
        if len(family.handed_out) <= back:
            return
        token, latest = family.handed_out[-1 - back].refresh_token, family.handed_out[-1]
        found = self.attempt(accident, lambda granting: granting.refresh(token, family.client))
        if isinstance(found, Tokens):
            assert (found.access_token, found.refresh_token) == (latest.access_token, latest.refresh_token)
            assert (back, family.ended, self.clock.now < family.grace_until) == (1, False, True)
        elif found is BROKEN:
            family.doubtful = True
        else:
            unused = family.sure and family.broke_at is None and self.clock.now < family.grace_sure_until
            assert (found, back == 1 and unused) == ("invalid_grant", False)
            family.ended = True

    @precondition(lambda self: self.families)
    @rule(which=WHICH, accident=ACCIDENTS, by=st.sampled_from([APP, OTHER]), again=st.booleans())
    def revoke(self, which: int, accident: tuple[int, Fate] | None, by: Client, again: bool) -> None:
        family = self.family(which)
        if not family.handed_out:
            return
        token = family.handed_out[-1].refresh_token
        found = self.attempt(accident, lambda granting: granting.grants.revoke(token, by))
        if again:
            found = self.attempt(None, lambda granting: granting.grants.revoke(token, by))
        if by is family.client:
            family.ended = family.ended or found is None
            family.doubtful = True

    @rule(accident=ACCIDENTS)
    def end_all(self, accident: tuple[int, Fate] | None) -> None:
        found = self.attempt(accident, lambda granting: granting.grants.end_all(ANN.principal))
        for family in self.families:
            family.ended = family.ended or found is None
            family.doubtful = True

    def _got(self, family: Family, tokens: Tokens) -> None:
        now = self.clock.now
        used_at = now if family.broke_at is None else family.broke_at
        family.grace_sure_until, family.grace_until = used_at + GRACE_S, now + GRACE_S
        family.refresh_until = used_at + REFRESH_TTL_S
        family.access_until = now + tokens.expires_in_s
        family.handed_out.append(tokens)
        family.broke_at = None

    # -- what is true at all times -------------------------------------------------------------------------------------

    @invariant()
    def what_was_ended_never_answers(self) -> None:
        for family in self.families:
            if family.ended:
                assert not any(self.run(self.granting.answers(tokens)) for tokens in family.handed_out)

    @invariant()
    def what_is_alive_answers(self) -> None:
        for family in self.families:
            if family.sure and self.clock.now < family.access_until:
                assert self.run(self.granting.answers(family.handed_out[-1]))

    @invariant()
    def the_user_sees_what_is_alive(self) -> None:
        seen = len(self.run(self.granting.apps()))
        sure = sum(family.sure and self.clock.now < family.refresh_until for family in self.families)
        possible = sum(family.tried and not family.ended for family in self.families)
        assert sure <= seen <= possible


class SQLiteMachine(Machine):
    def open(self) -> tuple[RecordStore, AtomicStore]:
        self.folder = Path(tempfile.mkdtemp())
        return open_sqlite(self.folder / "mcp.db", self.clock)

    def teardown(self) -> None:
        self.run(self.granting.records.aclose())
        super().teardown()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("examples", [40, pytest.param(250, marks=pytest.mark.deep)])
def test_the_life_of_grants(examples: int) -> None:
    run_state_machine_as_test(  # pyright: ignore[reportUnknownVariableType] - hypothesis does not say
        Machine, settings=settings(max_examples=examples, stateful_step_count=50, deadline=None)
    )


@pytest.mark.parametrize("examples", [5, pytest.param(25, marks=pytest.mark.deep)])
def test_the_life_of_grants_on_sqlite(examples: int) -> None:
    run_state_machine_as_test(  # pyright: ignore[reportUnknownVariableType] - hypothesis does not say
        SQLiteMachine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None)
    )
