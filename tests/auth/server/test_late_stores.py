"""Two isolates of a Worker, each at a location of a late KV: what one issues the other takes at once, and what one has
ended the other may take for the stated time, and no longer."""

from __future__ import annotations

import pytest

from mcp_edge.storage.cached import LATE_S
from mcp_edge.storage.cloudflare import open_cloudflare
from tests.auth.server.granting import APP, GrantInstance, refusal
from tests.storage.hostile import Location, Network
from tests.support.clock import Clock
from tests.support.miniflare import D1, KV, Bridge

pytestmark = pytest.mark.anyio


@pytest.fixture
def isolates(engine: Bridge, clock: Clock) -> tuple[GrantInstance, GrantInstance]:
    network = Network(KV(engine), clock)
    here, there = (GrantInstance(*open_cloudflare(Location(network), D1(engine), clock), clock) for _ in range(2))
    return here, there


async def test_a_code_and_its_tokens_are_good_elsewhere_at_once(isolates: tuple[GrantInstance, GrantInstance]) -> None:
    here, there = isolates
    one = await there.redeem(await here.code())
    two = await here.refresh(one.refresh_token)
    assert [await at.answers(tokens) for at in isolates for tokens in (one, two)] == [True] * 4
    assert await there.refresh(one.refresh_token) == two


async def test_an_ended_grant_is_ended_everywhere_but_its_access_token_may_be_taken_a_while_longer(
    isolates: tuple[GrantInstance, GrantInstance], clock: Clock
) -> None:
    here, there = isolates
    tokens = await here.tokens()
    clock.advance(LATE_S)
    assert await there.answers(tokens)
    await here.grants.revoke(tokens.refresh_token, APP)
    assert (await here.answers(tokens), await there.answers(tokens)) == (False, True)
    assert await refusal(there.refresh(tokens.refresh_token)) == "invalid_grant"
    clock.advance(LATE_S)
    assert (await here.answers(tokens), await there.answers(tokens)) == (False, False)
