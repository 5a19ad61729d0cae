"""What is ended stays ended: a removal that fails at any step can be made again, and no renewal undoes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.grants.access_tokens import AccessTokens
from mcp_edge.auth.server.grants.grants import Grants
from mcp_edge.auth.server.model import Client
from mcp_edge.errors import NotFound, StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.signing import Signer
from mcp_edge.protocol.urls import Urls
from mcp_edge.records.sessions import Session, Sessions
from mcp_edge.settings import Settings
from mcp_edge.storage.cached import Cached
from mcp_edge.storage.memory import MemoryRecords, open_memory
from mcp_edge.user import User
from tests.auth.server.granting import every_client
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

BOB = User("keys", "bob")
CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
DELETIONS = 9
"""More than any removal below takes."""
APP = Client("app", "App", ("https://app.example/back",), "dcr")


class Failing(MemoryRecords):
    """A store whose deletions may fail, one of them or from one on."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.plan: Callable[[], bool] = lambda: False
        self.before_put: Callable[[str], Awaitable[object]] | None = None

    async def delete(self, key: str) -> None:
        if self.plan():
            raise StoreUnavailable("it failed")
        await super().delete(key)

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        if self.before_put is not None:
            await self.before_put(key)
        await super().put(key, value, ttl_s=ttl_s)


class Deployment:
    """Two isolates with one late store in front of one that is the truth, and a key ring."""

    def __init__(self, clock: Clock) -> None:
        self.near, self.truth = Failing(clock), Failing(clock)
        atomics = open_memory(clock)[1]
        self.settings = Settings(auth="oauth", public_url="https://mcp.example")
        self.here, self.there = (
            Platform(self.settings, Cached(self.near, truth=self.truth, clock=clock), atomics, clock=clock)
            for _ in range(2)
        )

    def sessions(self, platform: Platform) -> Sessions:
        return Sessions(platform, Signer([b"k" * 32]))

    def tokens(self, platform: Platform) -> AccessTokens:
        return AccessTokens(platform, KeyRing(["k" * 40]), _no_scopes, every_client)

    def grants(self, platform: Platform) -> Grants:
        ring, urls = KeyRing(["k" * 40]), Urls("https://mcp.example")
        return Grants(platform, ring, urls, _no_scopes, lambda _: True, every_client)

    def fail(self, at: int) -> None:
        """Let the deletion `at` fail, in whichever of the two it is."""
        count = 0

        def plan() -> bool:
            nonlocal count
            count += 1
            return count == at

        self.near.plan = self.truth.plan = plan


async def _no_scopes() -> Scopes:
    return Scopes()


async def until_done(work: Callable[[], Awaitable[object]]) -> None:
    """What a client does: once more, after a 503."""
    try:
        await work()
    except StoreUnavailable:
        await work()


async def opened(sessions: Sessions) -> tuple[str, Session]:
    session_id = sessions.mint()
    session = await sessions.open(session_id, BOB, CLIENT, "2025-11-25")
    await sessions.set_level(session, "error")
    await sessions.subscribe(session, "note://1")
    return session_id, session


@pytest.mark.parametrize("at", range(1, DELETIONS + 1))
async def test_a_session_whose_end_broke_off_is_ended_by_the_next_attempt_everywhere(clock: Clock, at: int) -> None:
    deployed = Deployment(clock)
    here, there = deployed.sessions(deployed.here), deployed.sessions(deployed.there)
    session_id, _ = await opened(here)
    other_id, _ = await opened(here)
    clock.advance(200)

    async def delete() -> None:
        found = await here.find(session_id, BOB)  # as DELETE does: 404 where there is none
        if found is not None:
            await here.end(found)

    deployed.fail(at)
    await until_done(delete)

    clock.advance(200)
    for sessions in (here, there):
        assert await sessions.find(session_id, BOB) is None
        assert await sessions.find(other_id, BOB) is not None
    assert len(await deployed.near.list("session/")) == len(await deployed.truth.list("session/")) == 1
    left = [*await deployed.truth.list("subscription/"), *await deployed.truth.list("level/")]
    assert len(left) <= 3  # at most what failed, which ends by itself


async def issued(tokens: AccessTokens, client: str = "app") -> tuple[str, str]:
    """An access token of Bob's, and its digest."""
    return await tokens.issue(
        BOB,
        client=client,
        client_kind="",
        redirect_uri="",
        grant="g",
        scopes=frozenset({"mcp"}),
        audience="x",
        ttl_s=3600,
    )


@pytest.mark.parametrize("at", range(1, DELETIONS + 1))
async def test_an_access_token_whose_revocation_broke_off_is_revoked_by_the_next_one_everywhere(
    clock: Clock, at: int
) -> None:
    deployed = Deployment(clock)
    tokens, grants = deployed.tokens(deployed.here), deployed.grants(deployed.here)
    token, _ = await issued(tokens)
    kept, _ = await issued(tokens)
    deployed.fail(at)

    await until_done(lambda: grants.revoke(token, APP))

    clock.advance(1800)
    for platform in (deployed.here, deployed.there):
        assert await deployed.tokens(platform).find(token.encode()) is None
        assert await deployed.tokens(platform).find(kept.encode()) is not None


async def test_a_revocation_removes_by_its_digest_what_only_the_late_store_still_has(clock: Clock) -> None:
    deployed = Deployment(clock)
    tokens, grants = deployed.tokens(deployed.here), deployed.grants(deployed.here)
    token, digest = await issued(tokens)
    await deployed.truth.delete(f"token/{digest}")
    assert await tokens.find(token.encode()) is None  # its own writes it reads in the truth
    await grants.revoke(token, APP)
    assert await deployed.near.get(f"token/{digest}") is None


async def test_nobody_else_revokes_a_token_and_nothing_is_deleted_for_what_was_never_issued(clock: Clock) -> None:
    deployed = Deployment(clock)
    tokens, grants = deployed.tokens(deployed.here), deployed.grants(deployed.here)
    token, _ = await issued(tokens, "its")

    def refuse() -> bool:
        raise AssertionError

    deployed.near.plan = deployed.truth.plan = refuse
    for given in (token, token[:-1] + ("0" if token[-1] != "0" else "1"), "mea_x", "x", ""):
        await grants.revoke(given, APP)
    assert await tokens.find(token.encode()) is not None


@pytest.mark.parametrize("at", range(1, 8))
async def test_a_session_that_is_ended_while_it_is_renewed_stays_ended(clock: Clock, at: int) -> None:
    """The end comes before each write of the renewal."""
    deployed = Deployment(clock)
    here, there = deployed.sessions(deployed.here), deployed.sessions(deployed.there)
    session_id, session = await opened(here)
    clock.advance(deployed.settings.session_ttl_s * 0.6)
    count = 0

    async def end(_: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            await there.end(session)

    deployed.near.before_put = deployed.truth.before_put = end
    ended = False
    try:
        await here.load(session_id, BOB)
    except NotFound:
        ended = True
    assert ended is (count >= at)
    clock.advance(200)
    for sessions in (here, there):
        assert (await sessions.find(session_id, BOB) is None) is ended


async def test_a_session_that_gives_way_while_it_is_renewed_stays_ended(clock: Clock) -> None:
    deployed = Deployment(clock)
    here, there = deployed.sessions(deployed.here), deployed.sessions(deployed.there)
    session_id, _ = await opened(here)
    clock.advance(deployed.settings.session_ttl_s * 0.6)
    filled = False

    async def fill(key: str) -> None:
        del key
        nonlocal filled
        if not filled:
            filled = True
            for _ in range(deployed.settings.max_sessions):
                await opened(there)

    deployed.truth.before_put = fill
    assert await here.find(session_id, BOB) is None
    clock.advance(200)
    assert await there.find(session_id, BOB) is None


async def test_a_session_in_use_is_renewed_and_lives(clock: Clock) -> None:
    deployed = Deployment(clock)
    here: Any = deployed.sessions(deployed.here)
    session_id, _ = await opened(here)
    for _ in range(5):
        clock.advance(deployed.settings.session_ttl_s * 0.6)
        await here.load(session_id, BOB)
