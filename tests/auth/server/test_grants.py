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
from tests.auth.server.granting import ANN, APP, CALLBACK, HERE, OTHER, RING, URLS, VERIFIER, Office, refusal
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

BOB = User(issuer="dev", subject="bob")
GRACE_S = 45
NEW_KEY = "a-new-key-0123456789012345678901234567"
NEVER = (False, False)


async def user_of(office: Office, tokens: Tokens, audiences: frozenset[str] = HERE) -> User | None:
    return await office.grants.user(tokens.access_token, audiences)


# -- codes -------------------------------------------------------------------------------------------------------------


async def test_a_code_becomes_tokens_that_name_the_user_the_client_and_what_is_allowed(office: Office) -> None:
    tokens = await office.tokens()
    (app,) = await office.grants.of(ANN.principal)
    assert (tokens.expires_in_s, tokens.scopes) == (3600, {"notes:write"})
    assert await user_of(office, tokens) == replace(
        ANN, scopes=frozenset({"notes:read", "notes:write"}), client="app", grant=app.grant_id
    )
    assert await office.lives(tokens) == (True, True)


async def test_of_twenty_parallel_redemptions_at_most_one_succeeds_and_the_family_is_ended(office: Office) -> None:
    code = await office.code()
    found = await asyncio.gather(*(office.elsewhere().redeem(code) for _ in range(20)), return_exceptions=True)
    tokens = [one for one in found if isinstance(one, Tokens)]
    errors = [one.error for one in found if isinstance(one, OAuthError)]
    assert (len(tokens), errors) == (1, ["invalid_grant"] * 19)
    assert [await office.lives(one) for one in tokens] == [NEVER]
    assert await office.apps() == []


async def test_a_code_that_is_used_again_ends_what_it_was_used_for(office: Office) -> None:
    code = await office.code()
    tokens = await office.redeem(code)
    assert await refusal(office.elsewhere().redeem(code)) == "invalid_grant"
    assert await office.lives(tokens) == NEVER


@pytest.mark.parametrize(
    ("client", "verifier"), [(OTHER, VERIFIER), (APP, VERIFIER[:-1] + "2")], ids=["client", "verifier"]
)
async def test_a_used_code_in_wrong_hands_ends_nothing(office: Office, client: Client, verifier: str) -> None:
    code = await office.code()
    tokens = await office.redeem(code)
    assert await refusal(office.redeem(code, client, verifier=verifier)) == "invalid_grant"
    assert await office.lives(tokens) == (True, True)


async def test_what_is_wrong_with_a_redemption_does_not_use_the_code_up(office: Office) -> None:
    code = await office.code(resource=URLS.at("/mcp"))
    wrong = [
        office.redeem(code, OTHER),
        office.redeem(code, verifier=VERIFIER[:-1] + "2"),
        office.redeem(code, redirect_uri=CALLBACK + "/"),
        office.redeem(code, resource=URLS.at("/sse")),
        office.redeem(code, resource=URLS.issuer),
        office.redeem(code, resource="https://elsewhere.example/mcp"),
        office.redeem(code[:-1] + ("0" if code[-1] != "0" else "1")),
    ]
    invalid_grant, invalid_target = ["invalid_grant"], ["invalid_target"]
    assert [await refusal(one) for one in wrong] == invalid_grant * 3 + invalid_target * 3 + invalid_grant
    assert await office.lives(await office.redeem(code)) == (True, True)


@pytest.mark.parametrize("seconds", [0, 59, 60])
async def test_a_code_lives_for_a_minute(office: Office, seconds: int) -> None:
    code = await office.code()
    office.clock.advance(seconds)
    assert await refusal(office.redeem(code)) == (None if seconds < 60 else "invalid_grant")


async def test_a_client_without_refresh_tokens_gets_none(office: Office) -> None:
    once = replace(APP, grant_types=("authorization_code",))
    tokens = await office.redeem(await office.code(client=once), once)
    assert (tokens.refresh_token, await office.answers(tokens), await office.apps()) == ("", True, ["app"])
    office.clock.advance(3600)
    assert (await office.answers(tokens), await office.apps()) == (False, [])


# -- refresh tokens ----------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_replaced_each_time(office: Office) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)
    three = await office.elsewhere().refresh(two.refresh_token)
    assert len({t.refresh_token for t in (one, two, three)} | {t.access_token for t in (one, two, three)}) == 6
    assert await office.lives(three) == (True, True)


@pytest.mark.parametrize("seconds", [0, GRACE_S - 1])
async def test_the_previous_refresh_token_gets_the_same_answer_for_a_while(office: Office, seconds: int) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)
    office.clock.advance(seconds)
    assert await office.elsewhere().refresh(one.refresh_token) == replace(two, expires_in_s=3600 - seconds)
    assert await office.lives(two) == (True, True)


async def test_the_same_answer_never_gives_more_scopes_than_are_asked_for(office: Office) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)
    less, same = frozenset({"notes:read"}), frozenset({"notes:write"})
    assert await refusal(office.refresh(one.refresh_token, scopes=less)) == "invalid_scope"
    assert await office.refresh(one.refresh_token, scopes=same) == two
    narrow = await office.refresh(two.refresh_token, scopes=less)
    assert await office.refresh(two.refresh_token) == narrow  # less than asked for is no harm, and is said
    assert (two.scopes, narrow.scopes) == (same, less)


async def test_the_previous_refresh_token_ends_the_family_afterwards(office: Office) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)
    office.clock.advance(GRACE_S)
    assert await refusal(office.elsewhere().refresh(one.refresh_token)) == "invalid_grant"
    assert await office.lives(two) == NEVER
    assert await office.apps() == []


async def test_a_refresh_token_of_two_generations_ago_ends_the_family_at_once(office: Office) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)
    three = await office.refresh(two.refresh_token)
    assert await refusal(office.refresh(one.refresh_token)) == "invalid_grant"
    assert await office.lives(three) == NEVER


async def test_any_old_generation_is_known_however_many_came_since(office: Office) -> None:
    first = latest = await office.tokens()
    for _ in range(6):
        latest = await office.refresh(latest.refresh_token)
        office.clock.advance(3600)
    assert await refusal(office.refresh(first.refresh_token)) == "invalid_grant"
    assert await office.lives(latest) == NEVER


async def test_twenty_parallel_refreshes_get_one_answer(office: Office) -> None:
    one = await office.tokens()
    found = await asyncio.gather(*(office.elsewhere().refresh(one.refresh_token) for _ in range(20)))
    assert len(set(found)) == 1
    assert await office.lives(found[0]) == (True, True)


async def test_another_clients_refresh_token_is_refused_and_unharmed(office: Office) -> None:
    one = await office.tokens()
    assert await refusal(office.refresh(one.refresh_token, OTHER)) == "invalid_grant"
    two = await office.refresh(one.refresh_token)
    office.clock.advance(GRACE_S)
    assert await refusal(office.refresh(one.refresh_token, OTHER)) == "invalid_grant"
    assert await office.lives(two) == (True, True)


async def test_who_has_merely_seen_a_code_cannot_end_the_family(office: Office) -> None:
    code = await office.code()
    tokens = await office.redeem(code)
    forged = "mer_" + code[4:36] + "0" * 96
    assert await refusal(office.refresh(forged)) == "invalid_grant"
    await office.grants.revoke(forged, APP)
    assert await office.lives(tokens) == (True, True)


@pytest.mark.parametrize("seconds", [30 * 86400 - 1, 30 * 86400])
async def test_an_unused_refresh_token_expires_and_each_use_starts_its_life_anew(office: Office, seconds: int) -> None:
    one = await office.tokens()
    office.clock.advance(20 * 86400)
    two = await office.refresh(one.refresh_token)
    office.clock.advance(seconds)
    assert await refusal(office.refresh(two.refresh_token)) == (None if seconds < 30 * 86400 else "invalid_grant")


async def test_a_refresh_narrows_scopes_for_once_and_never_adds_any(office: Office) -> None:
    one = await office.tokens()
    refused = await refusal(office.refresh(one.refresh_token, scopes=frozenset({"notes:read", "notes:share"})))
    two = await office.refresh(one.refresh_token, scopes=frozenset({"notes:read"}))
    narrow = await user_of(office, two)
    three = await office.refresh(two.refresh_token)
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
    office: Office, granted: str, asked: str | None, good_at: set[str]
) -> None:
    resource = None if asked is None else URLS.issuer + asked
    tokens = await office.redeem(await office.code(resource=URLS.issuer + granted), resource=resource)
    paths = ("/mcp", "/sse", "/messages")
    assert {path for path in paths if await office.answers(tokens, URLS.accepted_at(path))} == good_at


async def test_a_refresh_stays_with_the_resource_of_the_grant(office: Office) -> None:
    one = await office.tokens(resource=URLS.at("/mcp"))
    assert await refusal(office.refresh(one.refresh_token, resource=URLS.at("/sse"))) == "invalid_target"
    two = await office.refresh(one.refresh_token, resource=URLS.at("/mcp"))
    assert await office.lives(two) == (True, True)


async def test_the_answer_that_is_repeated_is_not_passed_off_as_one_for_another_resource(office: Office) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token, resource=URLS.at("/mcp"))
    assert await refusal(office.refresh(one.refresh_token, resource=URLS.at("/sse"))) == "invalid_target"
    assert await office.refresh(one.refresh_token, resource=URLS.at("/mcp")) == two


# -- access tokens -----------------------------------------------------------------------------------------------------


async def test_a_token_expires_even_where_its_record_does_not(clock: Clock) -> None:
    office = Office(*open_memory(lambda: 0.0), clock)
    tokens, code = await office.tokens(), await office.code()
    clock.advance(60)
    assert (await office.answers(tokens), await refusal(office.redeem(code))) == (True, "invalid_grant")
    clock.advance(3540)
    assert await office.answers(tokens) is False


@pytest.mark.parametrize("seconds", [3599, 3600])
async def test_an_access_token_expires(office: Office, seconds: int) -> None:
    tokens = await office.tokens()
    assert await office.answers(tokens)  # and is known by then
    office.clock.advance(seconds)
    assert await office.answers(tokens) == (seconds < 3600)


async def test_the_oldest_access_token_gives_way_when_a_grant_has_too_many(office: Office) -> None:
    issued = [await office.tokens()]
    for _ in range(MOST_ACCESS_TOKENS):
        issued.append(await office.refresh(issued[-1].refresh_token))
    assert [await office.answers(one) for one in issued] == [False] + [True] * MOST_ACCESS_TOKENS
    await office.grants.revoke(issued[-1].refresh_token, APP)
    assert not any([await office.answers(one) for one in issued])


@pytest.mark.parametrize("token", ["", "mea_", "mea_" + "g" * 80, "mea_" + "0" * 80, "mea_é", "Bearer x", "\udcff"])
async def test_what_is_no_token_is_nobodys(office: Office, token: str) -> None:
    assert await office.grants.user(token.encode("utf-8", "surrogateescape").decode("latin-1"), HERE) is None


# -- ends --------------------------------------------------------------------------------------------------------------


async def test_a_client_that_revokes_its_refresh_token_ends_all_of_the_grant(office: Office) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)
    await office.elsewhere().grants.revoke(two.refresh_token, APP)
    assert [await office.answers(one), *await office.lives(two)] == [False] * 3
    assert await office.apps() == []


async def test_a_client_that_revokes_an_access_token_ends_that_one_alone(office: Office) -> None:
    one = await office.tokens()
    two = await office.refresh(one.refresh_token)
    await office.elsewhere().grants.revoke(one.access_token, APP)
    assert [await office.answers(one), *await office.lives(two)] == [False, True, True]


async def test_another_clients_tokens_cannot_be_revoked(office: Office) -> None:
    tokens = await office.tokens()
    await office.grants.revoke(tokens.refresh_token, OTHER)
    await office.grants.revoke(tokens.access_token, OTHER)
    assert await office.lives(tokens) == (True, True)


async def test_a_user_sees_and_ends_his_own_grants_alone(office: Office) -> None:
    mine, again, others = await office.tokens(), await office.tokens(client=OTHER), await office.tokens(user=BOB)
    office.clock.advance(1)
    mine = await office.refresh(mine.refresh_token)
    assert (await office.apps(), await office.apps(BOB)) == (["app", "other"], ["app"])
    (bobs,) = await office.grants.of(BOB.principal)
    await office.grants.end(ANN.principal, bobs.grant_id)
    assert await office.answers(others)
    await office.grants.end(ANN.principal, (await office.grants.of(ANN.principal))[0].grant_id)
    assert (await office.apps(), await office.apps(BOB)) == (["other"], ["app"])
    await office.grants.end_all(ANN.principal)
    assert [await office.answers(t) for t in (mine, again, others)] == [False, False, True]
    assert (await office.apps(), await office.apps(BOB)) == ([], ["app"])


async def test_who_ends_everything_ends_the_codes_too_that_nobody_has_used_yet(office: Office) -> None:
    ended, others = await office.code(), await office.code(user=BOB)
    assert await office.apps() == []
    await office.elsewhere().grants.end_all(ANN.principal)
    assert [await refusal(office.redeem(code)) for code in (ended, others)] == ["invalid_grant", None]


async def test_who_ends_an_app_ends_its_unused_codes_too_and_no_other_apps(office: Office) -> None:
    live, code = await office.tokens(), await office.code()
    other, bobs = await office.code(client=OTHER), await office.code(user=BOB)
    assert await office.elsewhere().grants.end_client(ANN.principal, "app") is True
    assert await office.lives(live) == (False, False)
    assert await refusal(office.redeem(code)) == "invalid_grant"
    assert [await refusal(office.redeem(other, OTHER)), await refusal(office.redeem(bobs))] == [None, None]
    assert await office.grants.end_client(ANN.principal, "app") is False


async def test_what_the_user_sees_is_whole(office: Office) -> None:
    began = office.clock.now
    tokens = await office.tokens()
    office.clock.advance(7)
    await office.refresh(tokens.refresh_token)
    (app,) = await office.grants.of(ANN.principal)
    seen = (app.client_id, app.client_name, app.scopes, app.created_at, app.last_used_at)
    assert seen == ("app", "App", {"notes:write"}, began, began + 7)
    assert app.grant_id not in tokens.refresh_token + tokens.access_token


# -- introspection -----------------------------------------------------------------------------------------------------


async def test_a_client_learns_what_its_tokens_are_worth_and_nothing_of_the_user(office: Office) -> None:
    tokens = await office.tokens(resource=URLS.at("/mcp"))
    now = int(office.clock.now)
    told = await office.grants.introspect(tokens.access_token, APP)
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
    assert await office.grants.introspect(tokens.refresh_token, APP) == {**expected, "exp": now + 30 * 86400}


async def test_of_any_other_token_a_client_learns_nothing(office: Office) -> None:
    tokens, code = await office.tokens(), await office.code()
    later = await office.refresh(tokens.refresh_token)
    mine = [tokens.refresh_token, code, "x", ""]
    asked = [office.grants.introspect(token, APP) for token in mine]
    asked += [office.grants.introspect(token, OTHER) for token in (later.access_token, later.refresh_token)]
    assert [await one for one in asked] == [{"active": False}] * 6
    await office.grants.revoke(later.refresh_token, APP)
    asked = [office.grants.introspect(token, APP) for token in (later.access_token, later.refresh_token)]
    assert [await one for one in asked] == [{"active": False}] * 2


# -- what is stored ----------------------------------------------------------------------------------------------------


async def test_a_new_key_opens_what_the_old_one_sealed_and_seals_what_comes(office: Office) -> None:
    old = await office.tokens()
    both = office.elsewhere(ring=(NEW_KEY, *RING))
    renewed = await both.refresh(old.refresh_token)
    new = office.elsewhere(ring=(NEW_KEY,))
    assert (await both.answers(old), await new.answers(old)) == (True, False)
    assert await new.lives(renewed) == (True, True)


async def test_a_user_has_only_so_many_grants_and_the_one_used_least_lately_gives_way(clock: Clock) -> None:
    office = Office(*open_memory(clock), clock)
    first, second = await office.tokens(), await office.tokens()
    clock.advance(1)
    first = await office.refresh(first.refresh_token)
    for _ in range(MOST_GRANTS - 1):
        await office.tokens()
    assert (await office.answers(first), await office.answers(second)) == (True, False)
    assert len(await office.apps()) == MOST_GRANTS
