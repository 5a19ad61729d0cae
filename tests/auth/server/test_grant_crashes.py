"""A process may end, and the store may fail, before and after each operation: what was handed out stays good, what was
ended stays ended, and the client gets on with the same code or token."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from mcp_edge.auth.server.grants.issuing import Tokens
from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.memory import open_memory
from tests.auth.server.granting import ANN, APP, Fate, Killed, Office, refusal
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

OPERATIONS = 12
"""More than anything below needs: a test sees the last ones go by without an accident."""
ACCIDENTS = pytest.mark.parametrize("at", range(1, OPERATIONS + 1))
FATES = pytest.mark.parametrize("fate", list(Fate), ids=lambda fate: fate.name)


@pytest.fixture
def office(clock: Clock) -> Office:
    return Office(*open_memory(clock), clock)


async def survived(work: Awaitable[object]) -> bool:
    """Whether it came to its end."""
    try:
        await work
    except (Killed, StoreUnavailable):
        return False
    return True


@ACCIDENTS
@FATES
async def test_a_redemption_that_broke_off_leaves_a_good_code_or_nothing(office: Office, at: int, fate: Fate) -> None:
    code = await office.code()
    broken = office.elsewhere(office.trouble(at, fate))
    handed_out: list[Tokens] = []

    async def redeem(where: Office) -> None:
        handed_out.append(await where.redeem(code))

    if await survived(redeem(broken)):
        assert await office.lives(handed_out[0]) == (True, True)
        assert await office.apps() == ["app"]
        return
    if await refusal(redeem(office)) is None:
        assert await office.lives(handed_out[0]) == (True, True)
    else:  # the swap was made: its tokens are unknown to everybody, and the replay has ended them
        assert await office.apps() == []


@ACCIDENTS
@FATES
async def test_a_refresh_that_broke_off_is_made_again_with_the_same_token(office: Office, at: int, fate: Fate) -> None:
    one = await office.tokens()
    await survived(office.elsewhere(office.trouble(at, fate)).refresh(one.refresh_token))
    two = await office.refresh(one.refresh_token)
    assert await office.answers(one)
    assert await office.lives(two) == (True, True)
    assert await office.apps() == ["app"]


@ACCIDENTS
@FATES
@pytest.mark.parametrize("how", ["client", "user", "everywhere"])
async def test_an_end_that_broke_off_is_made_again(office: Office, how: str, at: int, fate: Fate) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)

    async def end(at: Office) -> None:
        if how == "client":
            await at.grants.revoke(two.refresh_token, APP)
        elif how == "everywhere":
            await at.grants.end_all(ANN.principal)
        else:
            for app in await at.grants.of(ANN.principal):
                await at.grants.end(ANN.principal, app.grant_id)

    if not await survived(end(office.elsewhere(office.trouble(at, fate)))):
        await end(office)
    assert [await office.answers(one), *await office.lives(two)] == [False] * 3
    assert await office.apps() == []


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.REFUSED], ids=lambda fate: fate.name)
async def test_the_write_that_decides_is_repeated_and_answers_as_it_did_the_first_time(
    office: Office, fate: Fate
) -> None:
    trouble = office.trouble()
    one = await office.tokens()
    two = await office.elsewhere(trouble).refresh(one.refresh_token)
    decides = trouble.log.index(next(name for name in trouble.log if name.startswith("swap grant/"))) + 1
    three = await office.elsewhere(office.trouble(decides, fate)).refresh(two.refresh_token)
    assert await office.lives(three) == (True, True)


@ACCIDENTS
async def test_what_a_refresh_under_way_hands_out_does_not_survive_a_revocation(office: Office, at: int) -> None:
    one = await office.tokens()
    trouble = office.trouble(at)
    trouble.meanwhile = lambda: office.grants.revoke(one.refresh_token, APP)
    got: list[Tokens] = []

    async def refresh() -> None:
        got.append(await office.elsewhere(trouble).refresh(one.refresh_token))

    error = await refusal(refresh())
    assert (error, len(got)) == (("invalid_grant", 0) if len(trouble.log) >= at else (None, 1))
    await office.grants.revoke(one.refresh_token, APP)  # which has happened already, or comes after
    assert [await office.lives(tokens) for tokens in (one, *got)] == [(False, False)] * (1 + len(got))
    assert await office.records.list("token/") == []  # what was kept in vain is gone, too


@ACCIDENTS
async def test_a_revocation_ends_what_a_refresh_in_between_has_handed_out(office: Office, at: int) -> None:
    one = await office.tokens()
    got: list[Tokens] = []

    async def refresh() -> None:
        got.append(await office.refresh(one.refresh_token))

    trouble = office.trouble(at)
    trouble.meanwhile = lambda: refusal(refresh())
    await office.elsewhere(trouble).grants.revoke(one.refresh_token, APP)
    assert [await office.lives(tokens) for tokens in (one, *got)] == [(False, False)] * (1 + len(got))


@ACCIDENTS
async def test_a_replay_while_the_first_redemption_is_under_way_leaves_one_family_at_most(
    office: Office, at: int
) -> None:
    code = await office.code()
    got: list[Tokens] = []

    async def redeem(where: Office) -> None:
        got.append(await where.redeem(code))

    trouble = office.trouble(at)
    trouble.meanwhile = lambda: refusal(redeem(office))
    await refusal(redeem(office.elsewhere(trouble)))
    assert len(got) == 1
    alive = [tokens for tokens in got if await office.answers(tokens)]
    assert len(await office.apps()) == len(alive)
