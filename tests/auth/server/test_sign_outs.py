"""Who signs out everywhere is out everywhere, whatever another browser is in the midst of."""

from __future__ import annotations

import pytest

from tests.auth.server.connecting import THERE, TwoGitHubs, leave
from tests.auth.server.deployment import Asking, Deploy, allow, authorize, confirm, consent_page, exchange
from tests.auth.server.granting import ANN, GrantInstance, refusal
from tests.auth.server.interleaving import approving, between, meanwhile
from tests.auth.server.upstream import UPSTREAM, GitHub, account_of
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

OPERATIONS = 18
"""More than anything below needs: a test sees the last ones go by undisturbed."""
AT = between(OPERATIONS)


async def out_everywhere(browser: Visitor, user: str = "alice") -> None:
    """Sign in if need be, and out everywhere."""
    page = await browser.visit("/apps")
    if page.heading == "Sign in":
        page = await browser.press(page, "Sign in", type_in={"value": user})
    assert (await browser.press(page, "Sign out everywhere")).heading == "Sign in"


@AT
async def test_what_is_approved_meanwhile_is_worth_nothing(
    everywhere: Deploy, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, asking = everywhere(), Asking()
    async with approving(edge) as (here, there):
        page = await consent_page(there, asking)
        log = meanwhile(edge, monkeypatch, at, lambda: out_everywhere(here))
        answer = await there.press(page, "Allow")
        disturbed = len(log) >= at
        code = answer.answer.get("code", "") if answer.left else ""
        assert not (disturbed and at == OPERATIONS)
        monkeypatch.undo()

        assert ((await exchange(there.client, asking, code)).status_code == 200) is not disturbed
        assert ((await there.visit("/apps")).heading == "Connected apps") is not disturbed
        if disturbed:
            await there.press(await there.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
        passes = bool((await consent_page(there, Asking(), site="none")).left)
        assert passes is not disturbed, "consent is forgotten with the rest"


@AT
async def test_who_signs_in_meanwhile_is_reached_by_the_next_time(
    everywhere: Deploy, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, asking = everywhere(), Asking()
    async with edge.visitor() as here, edge.visitor(address="198.51.100.7") as there:
        await authorize(here)
        page = await there.press(await consent_page(there, asking), "Allow")
        meanwhile(edge, monkeypatch, at, lambda: out_everywhere(here))
        answer = await there.press(page, "Sign in", type_in={"value": "alice"})
        monkeypatch.undo()

        answer = await confirm(there, answer)
        await out_everywhere(here)
        code = answer.answer.get("code", "") if answer.left else ""
        assert (await exchange(there.client, asking, code)).status_code == 400
        assert (await there.visit("/apps")).heading == "Sign in"
        again = Asking()
        back = await allow(there, await consent_page(there, again))
        assert (await exchange(there.client, again, back.answer["code"])).status_code == 200


@AT
async def test_an_account_that_comes_with_a_sign_in_is_kept_of_nobody_who_is_out(
    everywhere: Deploy, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    github = GitHub()
    edge = github.deploy(everywhere, upstream_account="identity")
    async with edge.visitor() as here, edge.visitor(address="198.51.100.7") as there:
        await github.back(here, await here.press(await here.visit("/apps"), "Continue with GitHub"))
        away = await there.press(await there.visit("/apps"), "Continue with GitHub")
        log = meanwhile(edge, monkeypatch, at, lambda: out_everywhere(here))
        await github.back(there, away)
        monkeypatch.undo()

        signed_in = (await there.visit("/apps")).heading == "Connected apps"
        assert signed_in or await account_of(edge) is None, log
        if len(log) < at:
            assert (signed_in, await account_of(edge)) == (True, UPSTREAM)


@AT
async def test_an_account_that_is_brought_meanwhile_is_not_kept(
    everywhere: Deploy, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = TwoGitHubs()
    edge = both.deploy(everywhere)
    async with edge.visitor() as here, edge.visitor(address="198.51.100.7") as there:
        await both.sign_in(here)
        await both.sign_in(there)
        away = await leave(edge, there)
        log = meanwhile(edge, monkeypatch, at, lambda: out_everywhere(here))
        page = await both.there.back(there, away)
        monkeypatch.undo()
        if page.status == 200:
            page = await there.press(page, "Connect")
        disturbed = len(log) >= at

        assert not (disturbed and at == OPERATIONS)
        assert await account_of(edge, issuer=THERE) == (None if disturbed else UPSTREAM), log
        assert (page.heading == "Connected") is not disturbed


@AT
async def test_an_account_that_is_connected_meanwhile_is_not_kept(
    everywhere: Deploy, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = TwoGitHubs()
    edge = both.deploy(everywhere)
    async with edge.visitor() as here, edge.visitor(address="198.51.100.7") as there:
        await both.sign_in(here)
        await both.sign_in(there)
        page = await both.there.back(there, await leave(edge, there))
        log = meanwhile(edge, monkeypatch, at, lambda: out_everywhere(here))
        page = await there.press(page, "Connect")
        monkeypatch.undo()
        disturbed = len(log) >= at

        assert not (disturbed and at == OPERATIONS)
        assert await account_of(edge, issuer=THERE) == (None if disturbed else UPSTREAM), log
        assert (page.heading == "Connected") is not disturbed


async def test_a_sign_in_that_came_too_late_is_told_so(everywhere: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = everywhere()
    async with edge.visitor() as here, edge.visitor(address="198.51.100.7") as there:
        await authorize(here)
        page = await there.visit("/sign-in")
        meanwhile(edge, monkeypatch, 3, lambda: out_everywhere(here))
        late = await there.press(page, "Sign in", type_in={"value": "alice"})
        monkeypatch.undo()

        assert (late.status, "You have signed out everywhere meanwhile." in late.text) == (403, True)
        assert (await there.press(page, "Sign in", type_in={"value": "alice"})).heading == "Connected apps"


async def test_a_code_of_a_sign_in_before_the_last_time_is_not_approved(granting: GrantInstance) -> None:
    first = await granting.sign_outs.latest(ANN.principal)
    kept = await granting.code(since=first)
    assert await refusal(granting.redeem(kept)) is None
    await granting.elsewhere().grants.end_all(ANN.principal)
    second = await granting.sign_outs.latest(ANN.principal)
    await granting.elsewhere().grants.end_all(ANN.principal)
    third = await granting.sign_outs.latest(ANN.principal)
    assert [await refusal(granting.code(since=mark)) for mark in (first, second, third)] == [
        "access_denied",
        "access_denied",
        None,
    ]
    assert len({first, second, third}) == 3


async def test_the_mark_outlives_every_sign_in_before_it_and_is_forgotten_then(granting: GrantInstance) -> None:
    await granting.grants.end_all(ANN.principal)
    key = f"signed-out/{ANN.principal}"
    assert await granting.atomics.get(key) is None  # it names nobody
    granting.clock.advance(8 * 3600 + 1)
    assert await refusal(granting.code(since="")) == "access_denied"
    granting.clock.advance(86400)
    assert (await granting.sign_outs.latest(ANN.principal), await refusal(granting.code(since=""))) == ("", None)


async def test_of_several_at_once_each_has_been_the_latest(granting: GrantInstance) -> None:
    trouble = granting.trouble(2)  # right before its own write
    trouble.meanwhile = lambda: granting.sign_outs.record(ANN.principal)
    other = granting.elsewhere(trouble)
    await other.sign_outs.record(ANN.principal)
    assert [name.split()[0] for name in trouble.log] == ["get", "create", "get", "swap"]
