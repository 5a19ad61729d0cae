"""An account's tokens are renewed once for all, kept while they are of use, and readable to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace

import anyio
import pytest

from mcp_edge.auth.identity.linked_accounts import LEASE_S, LIFE_S, LinkedAccounts
from mcp_edge.auth.identity.provider import Departure, Identity, SignInRefused, TokenSet
from mcp_edge.errors import UpstreamError
from mcp_edge.platform import Platform, PollIntervals
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.user import User

pytestmark = pytest.mark.anyio

ALICE, BOB = "https://issuer.test||alice", "https://issuer.test||bob"
DAY_S = 86400


@dataclass
class Rotating:
    """A provider whose refresh tokens are good for one use each. `meanwhile` runs while it thinks."""

    live: str = "refresh-0"
    used: int = 0
    failing: Exception | None = None
    meanwhile: Callable[[], AsyncIterator[None]] | None = None
    label: str = "Rotating"
    issuer: str = "https://rotating.test"

    async def depart(self, *, state: str, callback: str) -> Departure:
        raise NotImplementedError

    async def arrive(self, query: Mapping[str, str], secrets: Mapping[str, str], *, callback: str) -> Identity:
        raise NotImplementedError

    def admits(self, user: User) -> bool:
        return True

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        if self.meanwhile is not None:
            async for _ in self.meanwhile():
                pass
        await anyio.sleep(0)
        if self.failing is not None:
            raise self.failing
        if tokens.refresh_token != self.live:
            raise SignInRefused("spent")
        self.used += 1
        self.live = f"refresh-{self.used}"
        return TokenSet(f"access-{self.used}", self.live, tokens.expires_at and tokens.expires_at + 3600)


@dataclass
class AccountsDeployment:
    """Instances over one store, and the provider that they share."""

    provider: Rotating = field(default_factory=Rotating)
    now: float = 1_800_000_000.0
    keys: tuple[str, ...] = ("k" * 32,)

    def __post_init__(self) -> None:
        self.platform = Platform(
            Settings(),
            MemoryRecords(lambda: self.now),
            MemoryAtomics(lambda: self.now),
            clock=lambda: self.now,
            poll_intervals=PollIntervals(first_s=0.0001, most_s=0.001),
        )

    def instance(self, *keys: str) -> LinkedAccounts:
        return LinkedAccounts(self.platform, KeyRing(keys or self.keys), self.provider)

    async def connected(self, *, life_s: float | None = 3600, refresh: str = "refresh-0") -> LinkedAccounts:
        """An instance, with an account of alice's."""
        made = self.instance()
        ends = None if life_s is None else self.now + life_s
        await made.save(ALICE, TokenSet("access-0", refresh, ends, "read"))
        return made


async def test_a_live_token_is_the_user_s_alone() -> None:
    linked_accounts = await AccountsDeployment().connected()

    assert [await linked_accounts.token(ALICE), await linked_accounts.token(BOB)] == ["access-0", None]
    assert [await linked_accounts.connected(ALICE), await linked_accounts.connected(BOB)] == [True, False]


async def test_the_store_can_be_read_by_nobody_and_a_record_is_good_under_its_own_name_only() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected()
    (entry,) = await deployment.platform.atomics.read("account/")
    assert b"access-0" not in entry.value
    assert b"refresh-0" not in entry.value
    assert "alice" not in entry.key

    await linked_accounts.save(BOB, TokenSet("bob's"))
    (other,) = [e for e in await deployment.platform.atomics.read("account/") if e.key != entry.key]
    await deployment.platform.atomics.swap(other.key, entry.value, version=other.version, nonce="swapped")

    assert await linked_accounts.token(BOB) is None


async def test_an_account_at_one_provider_is_none_at_the_provider_that_took_its_place() -> None:
    deployment = AccountsDeployment()
    await deployment.connected()
    kept, deployment.provider = (
        deployment.provider,
        replace(deployment.provider, issuer="https://another.test", live="another-0"),
    )
    there = deployment.instance()

    assert (await there.connected(ALICE), await there.token(ALICE), await there.renewed(ALICE, "")) == (
        False,
        None,
        None,
    )
    deployment.provider = kept
    assert await deployment.instance().token(ALICE) == "access-0"
    await there.save(ALICE, TokenSet("another's", "another-0"))
    assert await there.token(ALICE) == "another's"
    assert await deployment.instance().token(ALICE) is None


async def test_a_refresh_token_that_rotates_is_used_once_however_many_need_it_on_however_many_instances() -> None:
    deployment = AccountsDeployment()
    await deployment.connected(life_s=30)
    instances = [deployment.instance(), deployment.instance()]
    tokens: list[str | None] = []

    async def ask(n: int) -> None:
        tokens.append(await instances[n % 2].token(ALICE))

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(ask, n)

    assert (tokens, deployment.provider.used) == (["access-1"] * 20, 1)


async def test_a_token_is_renewed_before_it_ends() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected(life_s=100)
    deployment.now += 39
    assert await linked_accounts.token(ALICE) == "access-0"
    deployment.now += 2
    assert await linked_accounts.token(ALICE) == "access-1"


async def test_an_account_that_the_provider_takes_no_more_is_forgotten() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected(life_s=30, refresh="spent")

    assert await linked_accounts.token(ALICE) is None
    assert not await linked_accounts.connected(ALICE)


async def test_a_provider_that_is_away_costs_nobody_an_account() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected(life_s=30)
    deployment.provider.failing = UpstreamError("away")
    with pytest.raises(UpstreamError, match="away"):
        await linked_accounts.token(ALICE)

    deployment.provider.failing = None
    assert await linked_accounts.token(ALICE) == "access-1"


async def test_an_instance_that_dies_while_it_renews_is_followed_by_another() -> None:
    deployment = AccountsDeployment()
    await deployment.connected(life_s=30)
    begun, answered = anyio.Event(), list[str | None]()

    async def never() -> AsyncIterator[None]:
        begun.set()
        await anyio.sleep_forever()
        yield

    deployment.provider.meanwhile = never
    async with anyio.create_task_group() as dying:
        dying.start_soon(deployment.instance().token, ALICE)
        await begun.wait()
        dying.cancel_scope.cancel()
    deployment.provider.meanwhile = None

    async def ask() -> None:
        answered.append(await deployment.instance().token(ALICE))

    async with anyio.create_task_group() as waiting:
        waiting.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert answered == []
        deployment.now += LEASE_S
    assert answered == ["access-1"]


@pytest.mark.parametrize(
    "failing", [None, SignInRefused("spent"), UpstreamError("away")], ids=["good", "refused", "away"]
)
async def test_an_account_that_is_connected_anew_meanwhile_is_the_one_that_counts(failing: Exception | None) -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected(life_s=30)

    async def reconnect() -> AsyncIterator[None]:
        await deployment.instance().save(ALICE, TokenSet("anew", "anew", deployment.now + 3600))
        yield

    deployment.provider.meanwhile, deployment.provider.failing = reconnect, failing
    try:
        assert await linked_accounts.token(ALICE) in ("anew", None)
    except UpstreamError:
        assert isinstance(failing, UpstreamError)

    deployment.provider.meanwhile = None
    assert await linked_accounts.token(ALICE) == "anew"


async def test_an_account_that_is_forgotten_meanwhile_stays_forgotten() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected(life_s=30)

    async def forget() -> AsyncIterator[None]:
        await deployment.instance().forget(ALICE)
        yield

    deployment.provider.meanwhile = forget

    assert await linked_accounts.token(ALICE) is None
    assert not await linked_accounts.connected(ALICE)


async def test_a_token_that_the_upstream_refuses_is_renewed_once_for_all() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected()

    assert await linked_accounts.renewed(ALICE, "access-0") == "access-1"
    assert await linked_accounts.renewed(ALICE, "access-0") == "access-1"
    assert deployment.provider.used == 1


async def test_a_refused_token_without_a_refresh_token_is_an_account_that_is_gone() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected(life_s=None, refresh="")

    assert await linked_accounts.renewed(ALICE, "access-0") is None
    assert not await linked_accounts.connected(ALICE)


async def test_an_account_that_was_connected_anew_is_not_forgotten_for_the_old_one_s_sake() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected()
    await linked_accounts.forget(ALICE, refused="of an older account")
    assert await linked_accounts.token(ALICE) == "access-0"

    await linked_accounts.forget(ALICE, refused="access-0")
    assert await linked_accounts.token(ALICE) is None


async def test_an_account_lives_as_long_as_it_is_used() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected(life_s=None)
    for _ in range(5):
        deployment.now += LIFE_S * 0.7
        assert await linked_accounts.token(ALICE) == "access-0"

    deployment.now += LIFE_S + 1
    assert await linked_accounts.token(ALICE) is None
    assert await deployment.platform.atomics.read("account/") == []


async def test_a_new_secret_of_the_server_opens_what_the_old_one_sealed() -> None:
    deployment = AccountsDeployment()
    await deployment.connected()
    old, new = deployment.keys[0], "n" * 32

    assert await deployment.instance(new, old).token(ALICE) == "access-0"
    assert await deployment.instance(new).token(ALICE) is None


async def test_what_is_forgotten_can_be_connected_again() -> None:
    deployment = AccountsDeployment()
    linked_accounts = await deployment.connected()
    await linked_accounts.forget(ALICE)
    await linked_accounts.forget(ALICE)
    assert await linked_accounts.token(ALICE) is None

    await linked_accounts.save(ALICE, replace(TokenSet("again"), expires_at=deployment.now + DAY_S))
    assert await linked_accounts.token(ALICE) == "again"
