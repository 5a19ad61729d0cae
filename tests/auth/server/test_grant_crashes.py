"""A process may end, and the store may fail, before and after each operation: what was handed out stays good, what was
ended stays ended, and the client gets on with the same code or token."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from mcp_edge.auth.server.grants.issuing import Tokens
from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.memory import open_memory
from tests.auth.server.granting import ANN, APP, Fate, GrantInstance, Killed, refusal
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

OPERATIONS = 12
"""More than anything below needs: a test sees the last ones go by without an accident."""
ACCIDENTS = pytest.mark.parametrize("at", range(1, OPERATIONS + 1))
FATES = pytest.mark.parametrize("fate", list(Fate), ids=lambda fate: fate.name)


@pytest.fixture
def granting(clock: Clock) -> GrantInstance:
    return GrantInstance(*open_memory(clock), clock)


async def survived(work: Awaitable[object]) -> bool:
    """Whether it came to its end."""
    try:
        await work
    except (Killed, StoreUnavailable):
        return False
    return True


@ACCIDENTS
@FATES
async def test_a_redemption_that_broke_off_leaves_a_good_code_or_nothing(
    granting: GrantInstance, at: int, fate: Fate
) -> None:
    code = await granting.code()
    broken = granting.elsewhere(granting.trouble(at, fate))
    handed_out: list[Tokens] = []

    async def redeem(where: GrantInstance) -> None:
        handed_out.append(await where.redeem(code))

    if await survived(redeem(broken)):
        assert await granting.lives(handed_out[0]) == (True, True)
        assert await granting.apps() == ["app"]
        return
    if await refusal(redeem(granting)) is None:
        assert await granting.lives(handed_out[0]) == (True, True)
    else:  # the swap was made: its tokens are unknown to everybody, and the replay has ended them
        assert await granting.apps() == []


@ACCIDENTS
@FATES
async def test_a_refresh_that_broke_off_is_made_again_with_the_same_token(
    granting: GrantInstance, at: int, fate: Fate
) -> None:
    one = await granting.tokens()
    await survived(granting.elsewhere(granting.trouble(at, fate)).refresh(one.refresh_token))
    two = await granting.refresh(one.refresh_token)
    assert await granting.answers(one)
    assert await granting.lives(two) == (True, True)
    assert await granting.apps() == ["app"]


@ACCIDENTS
@FATES
@pytest.mark.parametrize("how", ["client", "user", "everywhere"])
async def test_an_end_that_broke_off_is_made_again(granting: GrantInstance, how: str, at: int, fate: Fate) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)

    async def end(at: GrantInstance) -> None:
        if how == "client":
            await at.grants.revoke(two.refresh_token, APP)
        elif how == "everywhere":
            await at.grants.end_all(ANN.principal)
        else:
            for app in await at.grants.of(ANN.principal):
                await at.grants.end(ANN.principal, app.grant_id)

    if not await survived(end(granting.elsewhere(granting.trouble(at, fate)))):
        await end(granting)
    assert [await granting.answers(one), *await granting.lives(two)] == [False] * 3
    assert await granting.apps() == []


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.REFUSED], ids=lambda fate: fate.name)
async def test_the_write_that_decides_is_repeated_and_answers_as_it_did_the_first_time(
    granting: GrantInstance, fate: Fate
) -> None:
    trouble = granting.trouble()
    one = await granting.tokens()
    two = await granting.elsewhere(trouble).refresh(one.refresh_token)
    decides = trouble.log.index(next(name for name in trouble.log if name.startswith("swap grant/"))) + 1
    three = await granting.elsewhere(granting.trouble(decides, fate)).refresh(two.refresh_token)
    assert await granting.lives(three) == (True, True)


@ACCIDENTS
async def test_what_a_refresh_under_way_hands_out_does_not_survive_a_revocation(
    granting: GrantInstance, at: int
) -> None:
    one = await granting.tokens()
    trouble = granting.trouble(at)
    trouble.meanwhile = lambda: granting.grants.revoke(one.refresh_token, APP)
    got: list[Tokens] = []

    async def refresh() -> None:
        got.append(await granting.elsewhere(trouble).refresh(one.refresh_token))

    error = await refusal(refresh())
    assert (error, len(got)) == (("invalid_grant", 0) if len(trouble.log) >= at else (None, 1))
    await granting.grants.revoke(one.refresh_token, APP)  # which has happened already, or comes after
    assert [await granting.lives(tokens) for tokens in (one, *got)] == [(False, False)] * (1 + len(got))
    assert await granting.records.list("token/") == []  # what was kept in vain is gone, too


@ACCIDENTS
async def test_a_revocation_ends_what_a_refresh_in_between_has_handed_out(granting: GrantInstance, at: int) -> None:
    one = await granting.tokens()
    got: list[Tokens] = []

    async def refresh() -> None:
        got.append(await granting.refresh(one.refresh_token))

    trouble = granting.trouble(at)
    trouble.meanwhile = lambda: refusal(refresh())
    await granting.elsewhere(trouble).grants.revoke(one.refresh_token, APP)
    assert [await granting.lives(tokens) for tokens in (one, *got)] == [(False, False)] * (1 + len(got))


@ACCIDENTS
async def test_a_replay_while_the_first_redemption_is_under_way_leaves_one_family_at_most(
    granting: GrantInstance, at: int
) -> None:
    code = await granting.code()
    got: list[Tokens] = []

    async def redeem(where: GrantInstance) -> None:
        got.append(await where.redeem(code))

    trouble = granting.trouble(at)
    trouble.meanwhile = lambda: refusal(redeem(granting))
    await refusal(redeem(granting.elsewhere(trouble)))
    assert len(got) == 1
    alive = [tokens for tokens in got if await granting.answers(tokens)]
    assert len(await granting.apps()) == len(alive)
