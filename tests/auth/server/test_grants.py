"""A grant's life on every engine: what honest clients get, and what thieves of codes and tokens do not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mcp_edge.auth.server.grants.issuing import MOST_ACCESS_TOKENS, Tokens
from mcp_edge.auth.server.grants.store import MOST_GRANTS
from mcp_edge.auth.server.model import Client, OAuthError
from mcp_edge.storage.memory import open_memory
from mcp_edge.user import User
from tests.auth.server.granting import ANN, APP, CALLBACK, HERE, OTHER, RING, URLS, VERIFIER, GrantInstance, refusal
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

BOB = User(issuer="dev", subject="bob")
GRACE_S = 45
NEW_KEY = "a-new-key-0123456789012345678901234567"
NEVER = (False, False)


async def user_of(granting: GrantInstance, tokens: Tokens, audiences: frozenset[str] = HERE) -> User | None:
    return await granting.grants.user(tokens.access_token, audiences)


# -- codes -------------------------------------------------------------------------------------------------------------


async def test_a_code_becomes_tokens_that_name_the_user_the_client_and_what_is_allowed(granting: GrantInstance) -> None:
    tokens = await granting.tokens()
    (app,) = await granting.grants.of(ANN.principal)
    assert (tokens.expires_in_s, tokens.scopes) == (3600, {"notes:write"})
    assert await user_of(granting, tokens) == replace(
        ANN, scopes=frozenset({"notes:read", "notes:write"}), client="app", grant=app.grant_id
    )
    assert await granting.lives(tokens) == (True, True)


async def test_of_twenty_parallel_redemptions_at_most_one_succeeds_and_the_family_is_ended(
    granting: GrantInstance,
) -> None:
    code = await granting.code()
    found = await asyncio.gather(*(granting.elsewhere().redeem(code) for _ in range(20)), return_exceptions=True)
    tokens = [one for one in found if isinstance(one, Tokens)]
    errors = [one.error for one in found if isinstance(one, OAuthError)]
    assert (len(tokens), errors) == (1, ["invalid_grant"] * 19)
    assert [await granting.lives(one) for one in tokens] == [NEVER]
    assert await granting.apps() == []


async def test_a_code_that_is_used_again_ends_what_it_was_used_for(granting: GrantInstance) -> None:
    code = await granting.code()
    tokens = await granting.redeem(code)
    assert await refusal(granting.elsewhere().redeem(code)) == "invalid_grant"
    assert await granting.lives(tokens) == NEVER


@pytest.mark.parametrize(
    ("client", "verifier"), [(OTHER, VERIFIER), (APP, VERIFIER[:-1] + "2")], ids=["client", "verifier"]
)
async def test_a_used_code_in_wrong_hands_ends_nothing(granting: GrantInstance, client: Client, verifier: str) -> None:
    code = await granting.code()
    tokens = await granting.redeem(code)
    assert await refusal(granting.redeem(code, client, verifier=verifier)) == "invalid_grant"
    assert await granting.lives(tokens) == (True, True)


async def test_what_is_wrong_with_a_redemption_does_not_use_the_code_up(granting: GrantInstance) -> None:
    code = await granting.code(resource=URLS.at("/mcp"))
    wrong = [
        granting.redeem(code, OTHER),
        granting.redeem(code, verifier=VERIFIER[:-1] + "2"),
        granting.redeem(code, redirect_uri=CALLBACK + "/"),
        granting.redeem(code, resource=URLS.at("/sse")),
        granting.redeem(code, resource=URLS.issuer),
        granting.redeem(code, resource="https://elsewhere.example/mcp"),
        granting.redeem(code[:-1] + ("0" if code[-1] != "0" else "1")),
    ]
    invalid_grant, invalid_target = ["invalid_grant"], ["invalid_target"]
    assert [await refusal(one) for one in wrong] == invalid_grant * 3 + invalid_target * 3 + invalid_grant
    assert await granting.lives(await granting.redeem(code)) == (True, True)


@pytest.mark.parametrize("seconds", [0, 59, 60])
async def test_a_code_lives_for_a_minute(granting: GrantInstance, seconds: int) -> None:
    code = await granting.code()
    granting.clock.advance(seconds)
    assert await refusal(granting.redeem(code)) == (None if seconds < 60 else "invalid_grant")


async def test_a_client_without_refresh_tokens_gets_none(granting: GrantInstance) -> None:
    once = replace(APP, grant_types=("authorization_code",))
    tokens = await granting.redeem(await granting.code(client=once), once)
    assert (tokens.refresh_token, await granting.answers(tokens), await granting.apps()) == ("", True, ["app"])
    granting.clock.advance(3600)
    assert (await granting.answers(tokens), await granting.apps()) == (False, [])


# -- refresh tokens ----------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_replaced_each_time(granting: GrantInstance) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)
    three = await granting.elsewhere().refresh(two.refresh_token)
    assert len({t.refresh_token for t in (one, two, three)} | {t.access_token for t in (one, two, three)}) == 6
    assert await granting.lives(three) == (True, True)


@pytest.mark.parametrize("seconds", [0, GRACE_S - 1])
async def test_the_previous_refresh_token_gets_the_same_answer_for_a_while(
    granting: GrantInstance, seconds: int
) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)
    granting.clock.advance(seconds)
    assert await granting.elsewhere().refresh(one.refresh_token) == replace(two, expires_in_s=3600 - seconds)
    assert await granting.lives(two) == (True, True)


async def test_the_same_answer_never_gives_more_scopes_than_are_asked_for(granting: GrantInstance) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)
    less, same = frozenset({"notes:read"}), frozenset({"notes:write"})
    assert await refusal(granting.refresh(one.refresh_token, scopes=less)) == "invalid_scope"
    assert await granting.refresh(one.refresh_token, scopes=same) == two
    narrow = await granting.refresh(two.refresh_token, scopes=less)
    assert await granting.refresh(two.refresh_token) == narrow  # less than asked for is no harm, and is said
    assert (two.scopes, narrow.scopes) == (same, less)


async def test_the_previous_refresh_token_ends_the_family_afterwards(granting: GrantInstance) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)
    granting.clock.advance(GRACE_S)
    assert await refusal(granting.elsewhere().refresh(one.refresh_token)) == "invalid_grant"
    assert await granting.lives(two) == NEVER
    assert await granting.apps() == []


async def test_a_refresh_token_of_two_generations_ago_ends_the_family_at_once(granting: GrantInstance) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)
    three = await granting.refresh(two.refresh_token)
    assert await refusal(granting.refresh(one.refresh_token)) == "invalid_grant"
    assert await granting.lives(three) == NEVER


async def test_any_old_generation_is_known_however_many_came_since(granting: GrantInstance) -> None:
    first = latest = await granting.tokens()
    for _ in range(6):
        latest = await granting.refresh(latest.refresh_token)
        granting.clock.advance(3600)
    assert await refusal(granting.refresh(first.refresh_token)) == "invalid_grant"
    assert await granting.lives(latest) == NEVER


async def test_twenty_parallel_refreshes_get_one_answer(granting: GrantInstance) -> None:
    one = await granting.tokens()
    found = await asyncio.gather(*(granting.elsewhere().refresh(one.refresh_token) for _ in range(20)))
    assert len(set(found)) == 1
    assert await granting.lives(found[0]) == (True, True)


async def test_another_clients_refresh_token_is_refused_and_unharmed(granting: GrantInstance) -> None:
    one = await granting.tokens()
    assert await refusal(granting.refresh(one.refresh_token, OTHER)) == "invalid_grant"
    two = await granting.refresh(one.refresh_token)
    granting.clock.advance(GRACE_S)
    assert await refusal(granting.refresh(one.refresh_token, OTHER)) == "invalid_grant"
    assert await granting.lives(two) == (True, True)


async def test_who_has_merely_seen_a_code_cannot_end_the_family(granting: GrantInstance) -> None:
    code = await granting.code()
    tokens = await granting.redeem(code)
    forged = "mer_" + code[4:36] + "0" * 96
    assert await refusal(granting.refresh(forged)) == "invalid_grant"
    await granting.grants.revoke(forged, APP)
    assert await granting.lives(tokens) == (True, True)


@pytest.mark.parametrize("seconds", [30 * 86400 - 1, 30 * 86400])
async def test_an_unused_refresh_token_expires_and_each_use_starts_its_life_anew(
    granting: GrantInstance, seconds: int
) -> None:
    one = await granting.tokens()
    granting.clock.advance(20 * 86400)
    two = await granting.refresh(one.refresh_token)
    granting.clock.advance(seconds)
    assert await refusal(granting.refresh(two.refresh_token)) == (None if seconds < 30 * 86400 else "invalid_grant")


async def test_a_refresh_narrows_scopes_for_once_and_never_adds_any(granting: GrantInstance) -> None:
    one = await granting.tokens()
    refused = await refusal(granting.refresh(one.refresh_token, scopes=frozenset({"notes:read", "notes:share"})))
    two = await granting.refresh(one.refresh_token, scopes=frozenset({"notes:read"}))
    narrow = await user_of(granting, two)
    three = await granting.refresh(two.refresh_token)
    assert (refused, two.scopes, narrow and narrow.scopes) == ("invalid_scope", {"notes:read"}, {"notes:read"})
    assert three.scopes == {"notes:write"}


# -- audiences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "asked", "good_at"),
    [
        ("", None, {"/mcp", "/sse", "/messages"}),
        ("", "", {"/mcp", "/sse", "/messages"}),
        ("", "/", {"/mcp", "/sse", "/messages"}),
        ("", "/mcp", {"/mcp"}),
        ("", "/sse", {"/sse", "/messages"}),
        ("/mcp", None, {"/mcp"}),
        ("/mcp", "/mcp", {"/mcp"}),
        ("/sse", "/sse", {"/sse", "/messages"}),
    ],
)
async def test_a_token_is_good_where_it_was_granted_for(
    granting: GrantInstance, granted: str, asked: str | None, good_at: set[str]
) -> None:
    resource = None if asked is None else URLS.issuer + asked
    tokens = await granting.redeem(await granting.code(resource=URLS.issuer + granted), resource=resource)
    paths = ("/mcp", "/sse", "/messages")
    assert {path for path in paths if await granting.answers(tokens, URLS.accepted_at(path))} == good_at


async def test_a_refresh_stays_with_the_resource_of_the_grant(granting: GrantInstance) -> None:
    one = await granting.tokens(resource=URLS.at("/mcp"))
    assert await refusal(granting.refresh(one.refresh_token, resource=URLS.at("/sse"))) == "invalid_target"
    two = await granting.refresh(one.refresh_token, resource=URLS.at("/mcp"))
    assert await granting.lives(two) == (True, True)


async def test_the_answer_that_is_repeated_is_not_passed_off_as_one_for_another_resource(
    granting: GrantInstance,
) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token, resource=URLS.at("/mcp"))
    assert await refusal(granting.refresh(one.refresh_token, resource=URLS.at("/sse"))) == "invalid_target"
    assert await granting.refresh(one.refresh_token, resource=URLS.at("/mcp")) == two


# -- access tokens -----------------------------------------------------------------------------------------------------


async def test_a_token_expires_even_where_its_record_does_not(clock: Clock) -> None:
    granting = GrantInstance(*open_memory(lambda: 0.0), clock)
    tokens, code = await granting.tokens(), await granting.code()
    clock.advance(60)
    assert (await granting.answers(tokens), await refusal(granting.redeem(code))) == (True, "invalid_grant")
    clock.advance(3540)
    assert await granting.answers(tokens) is False


@pytest.mark.parametrize("seconds", [3599, 3600])
async def test_an_access_token_expires(granting: GrantInstance, seconds: int) -> None:
    tokens = await granting.tokens()
    assert await granting.answers(tokens)  # and is known by then
    granting.clock.advance(seconds)
    assert await granting.answers(tokens) == (seconds < 3600)


async def test_the_oldest_access_token_gives_way_when_a_grant_has_too_many(granting: GrantInstance) -> None:
    issued = [await granting.tokens()]
    for _ in range(MOST_ACCESS_TOKENS):
        issued.append(await granting.refresh(issued[-1].refresh_token))
    assert [await granting.answers(one) for one in issued] == [False] + [True] * MOST_ACCESS_TOKENS
    await granting.grants.revoke(issued[-1].refresh_token, APP)
    assert not any([await granting.answers(one) for one in issued])


@pytest.mark.parametrize("token", ["", "mea_", "mea_" + "g" * 80, "mea_" + "0" * 80, "mea_é", "Bearer x", "\udcff"])
async def test_what_is_no_token_is_nobodys(granting: GrantInstance, token: str) -> None:
    assert await granting.grants.user(token.encode("utf-8", "surrogateescape").decode("latin-1"), HERE) is None


# -- ends --------------------------------------------------------------------------------------------------------------


async def test_a_client_that_revokes_its_refresh_token_ends_all_of_the_grant(granting: GrantInstance) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)
    await granting.elsewhere().grants.revoke(two.refresh_token, APP)
    assert [await granting.answers(one), *await granting.lives(two)] == [False] * 3
    assert await granting.apps() == []


async def test_a_client_that_revokes_an_access_token_ends_that_one_alone(granting: GrantInstance) -> None:
    one = await granting.tokens()
    two = await granting.refresh(one.refresh_token)
    await granting.elsewhere().grants.revoke(one.access_token, APP)
    assert [await granting.answers(one), *await granting.lives(two)] == [False, True, True]


async def test_another_clients_tokens_cannot_be_revoked(granting: GrantInstance) -> None:
    tokens = await granting.tokens()
    await granting.grants.revoke(tokens.refresh_token, OTHER)
    await granting.grants.revoke(tokens.access_token, OTHER)
    assert await granting.lives(tokens) == (True, True)


async def test_a_user_sees_and_ends_his_own_grants_alone(granting: GrantInstance) -> None:
    mine, again, others = await granting.tokens(), await granting.tokens(client=OTHER), await granting.tokens(user=BOB)
    granting.clock.advance(1)
    mine = await granting.refresh(mine.refresh_token)
    assert (await granting.apps(), await granting.apps(BOB)) == (["app", "other"], ["app"])
    (bobs,) = await granting.grants.of(BOB.principal)
    await granting.grants.end(ANN.principal, bobs.grant_id)
    assert await granting.answers(others)
    await granting.grants.end(ANN.principal, (await granting.grants.of(ANN.principal))[0].grant_id)
    assert (await granting.apps(), await granting.apps(BOB)) == (["other"], ["app"])
    await granting.grants.end_all(ANN.principal)
    assert [await granting.answers(t) for t in (mine, again, others)] == [False, False, True]
    assert (await granting.apps(), await granting.apps(BOB)) == ([], ["app"])


async def test_who_ends_everything_ends_the_codes_too_that_nobody_has_used_yet(granting: GrantInstance) -> None:
    ended, others = await granting.code(), await granting.code(user=BOB)
    assert await granting.apps() == []
    await granting.elsewhere().grants.end_all(ANN.principal)
    assert [await refusal(granting.redeem(code)) for code in (ended, others)] == ["invalid_grant", None]


async def test_who_ends_an_app_ends_its_unused_codes_too_and_no_other_apps(granting: GrantInstance) -> None:
    live, code = await granting.tokens(), await granting.code()
    other, bobs = await granting.code(client=OTHER), await granting.code(user=BOB)
    assert await granting.elsewhere().grants.end_client(ANN.principal, "app") is True
    assert await granting.lives(live) == (False, False)
    assert await refusal(granting.redeem(code)) == "invalid_grant"
    assert [await refusal(granting.redeem(other, OTHER)), await refusal(granting.redeem(bobs))] == [None, None]
    assert await granting.grants.end_client(ANN.principal, "app") is False


async def test_what_the_user_sees_is_whole(granting: GrantInstance) -> None:
    began = granting.clock.now
    tokens = await granting.tokens()
    granting.clock.advance(7)
    await granting.refresh(tokens.refresh_token)
    (app,) = await granting.grants.of(ANN.principal)
    seen = (app.client_id, app.client_name, app.scopes, app.created_at, app.last_used_at)
    assert seen == ("app", "App", {"notes:write"}, began, began + 7)
    assert app.grant_id not in tokens.refresh_token + tokens.access_token


# -- introspection -----------------------------------------------------------------------------------------------------


async def test_a_client_learns_what_its_tokens_are_worth_and_nothing_of_the_user(granting: GrantInstance) -> None:
    tokens = await granting.tokens(resource=URLS.at("/mcp"))
    now = int(granting.clock.now)
    told = await granting.grants.introspect(tokens.access_token, APP)
    expected = {
        "active": True,
        "scope": "notes:write",
        "client_id": "app",
        "aud": "https://notes.example/mcp",
        "iss": "https://notes.example",
        "iat": now,
        "exp": now + 3600,
    }
    assert told == {**expected, "token_type": "Bearer"}
    assert await granting.grants.introspect(tokens.refresh_token, APP) == {**expected, "exp": now + 30 * 86400}


async def test_of_any_other_token_a_client_learns_nothing(granting: GrantInstance) -> None:
    tokens, code = await granting.tokens(), await granting.code()
    later = await granting.refresh(tokens.refresh_token)
    mine = [tokens.refresh_token, code, "x", ""]
    asked = [granting.grants.introspect(token, APP) for token in mine]
    asked += [granting.grants.introspect(token, OTHER) for token in (later.access_token, later.refresh_token)]
    assert [await one for one in asked] == [{"active": False}] * 6
    await granting.grants.revoke(later.refresh_token, APP)
    asked = [granting.grants.introspect(token, APP) for token in (later.access_token, later.refresh_token)]
    assert [await one for one in asked] == [{"active": False}] * 2


# -- what is stored ----------------------------------------------------------------------------------------------------


async def test_a_new_key_opens_what_the_old_one_sealed_and_seals_what_comes(granting: GrantInstance) -> None:
    old = await granting.tokens()
    both = granting.elsewhere(ring=(NEW_KEY, *RING))
    renewed = await both.refresh(old.refresh_token)
    new = granting.elsewhere(ring=(NEW_KEY,))
    assert (await both.answers(old), await new.answers(old)) == (True, False)
    assert await new.lives(renewed) == (True, True)


async def test_a_user_has_only_so_many_grants_and_the_one_used_least_lately_gives_way(clock: Clock) -> None:
    granting = GrantInstance(*open_memory(clock), clock)
    first, second = await granting.tokens(), await granting.tokens()
    clock.advance(1)
    first = await granting.refresh(first.refresh_token)
    for _ in range(MOST_GRANTS - 1):
        await granting.tokens()
    assert (await granting.answers(first), await granting.answers(second)) == (True, False)
    assert len(await granting.apps()) == MOST_GRANTS
