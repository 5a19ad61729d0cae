"""A record that lacks a member gives nobody more than one that has it, on every engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from mcp_edge.errors import NotFound
from mcp_edge.platform import Platform
from mcp_edge.protocol.signing import Signer
from mcp_edge.records.http_sse_streams import HttpSseStreams
from mcp_edge.records.mailbox import Mailbox, PostedMessage
from mcp_edge.records.sessions import Sessions
from mcp_edge.settings import Settings
from mcp_edge.storage.dynamodb_table import PART_BYTES
from mcp_edge.user import User
from tests.support.clock import Clock
from tests.support.engines import Ports

pytestmark = pytest.mark.anyio

SESSION = "a" * 32
NOBODY_IN_PARTICULAR = User("local", "local")
LIMITED = User("https://as.test", "ann", client="app", scopes=frozenset({"read"}))
SMALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}
LARGE: dict[str, Any] = {**SMALL, "params": {"name": "x", "pad": "y" * PART_BYTES}}
USERS = pytest.mark.parametrize("user", [NOBODY_IN_PARTICULAR, LIMITED], ids=["unrestricted", "limited"])
SIZES = pytest.mark.parametrize("message", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def platform(request: pytest.FixtureRequest, clock: Clock) -> Platform:
    ports: Ports = request.getfixturevalue(f"{request.param}_ports")
    return Platform(Settings(secret_keys=(SecretStr("k" * 43),)), *ports, clock=clock)


async def changed(platform: Platform, prefix: str, **members: Any) -> None:
    """Give the one record with `prefix` these members; None takes one away."""
    (entry,) = await platform.atomics.read(prefix)
    record = json.loads(entry.value)
    for name, value in members.items():
        record.pop(name.replace("__", "/").replace("_", "-"), None)
        if value is not None:
            record[name.replace("__", "/").replace("_", "-")] = value
    value = json.dumps(record).encode()
    assert await platform.atomics.swap(entry.key, value, version=entry.version, nonce="changed")


async def taken(platform: Platform) -> PostedMessage:
    (posted,) = [posted async for posted in Mailbox(platform, SESSION).take()]
    return posted


async def taken_up(platform: Platform, clock: Clock) -> PostedMessage:
    clock.advance(60)
    (posted,) = await Mailbox(platform, SESSION).orphans()
    return posted


@USERS
@SIZES
async def test_what_its_poster_may_do_goes_with_a_message_to_whoever_runs_it(
    platform: Platform, clock: Clock, user: User, message: dict[str, Any]
) -> None:
    await Mailbox(platform, SESSION).put(message, user, held=True)
    found = [await taken(platform), await taken_up(platform, clock)]

    assert [(posted.message, posted.scopes) for posted in found] == [(message, user.scopes)] * 2


@USERS
@SIZES
@pytest.mark.parametrize("scopes", [None, "read write", {"write": 1}, 1, False, ""])
async def test_a_message_that_does_not_say_what_is_allowed_allows_nothing(
    platform: Platform, clock: Clock, user: User, message: dict[str, Any], scopes: Any
) -> None:
    await Mailbox(platform, SESSION).put(message, user, held=True)
    await changed(platform, f"inbox/{SESSION}/", mcp_edge__scopes=scopes)
    found = [await taken(platform), await taken_up(platform, clock)]

    assert [(posted.message, posted.scopes) for posted in found] == [(message, frozenset())] * 2


@USERS
@SIZES
@pytest.mark.parametrize("scopes", [None, "read write", {"write": 1}])
async def test_a_call_under_way_that_does_not_say_what_is_allowed_allows_nothing(
    platform: Platform, clock: Clock, user: User, message: dict[str, Any], scopes: Any
) -> None:
    await Mailbox(platform, SESSION).put(message, user, held=True)
    await taken(platform)
    await changed(platform, f"running/{SESSION}/", scopes=scopes)
    found = [await taken_up(platform, clock), await taken_up(platform, clock)]

    assert [posted.scopes for posted in found] == [frozenset()] * 2


async def test_what_a_client_says_of_its_own_scopes_counts_for_nothing(platform: Platform) -> None:
    claimed = {**SMALL, "mcp-edge/scopes": None, "mcp-edge/app": "another app"}
    await Mailbox(platform, SESSION).put(claimed, LIMITED, held=True)
    posted = await taken(platform)

    assert (posted.message, posted.scopes, posted.app) == (SMALL, LIMITED.scopes, "app")


async def test_a_session_that_names_no_app_answers_to_no_app(platform: Platform) -> None:
    sessions = Sessions(platform, Signer([b"k" * 32]))
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    ours = User("https://as.test", "ann")
    session = await sessions.open(session_id := sessions.mint(), ours, client, "2025-11-25")
    key = f"session/{session.key}"
    record = json.loads(await platform.records.get(key) or b"")
    del record["app"]
    await platform.records.put(key, json.dumps(record).encode())

    assert (await sessions.load(session_id, ours)).key == session.key
    with pytest.raises(NotFound):
        await sessions.load(session_id, LIMITED)


async def test_a_door_that_names_no_app_opens_to_no_app(platform: Platform) -> None:
    ours = User("https://as.test", "ann")
    await platform.records.put(f"door/{SESSION}", ours.principal.encode())

    assert await HttpSseStreams(platform).find(SESSION, LIMITED) is None
    assert await HttpSseStreams(platform).find(SESSION, ours) is not None
