"""Grants over any engine: a user, two clients, a clock, and a store that fails where it is told to."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, TypeVar

from mcp_edge.auth.scopes import Scope, Scopes
from mcp_edge.auth.server.grants.grants import Grants
from mcp_edge.auth.server.grants.issuing import Tokens
from mcp_edge.auth.server.grants.sign_outs import SignOuts
from mcp_edge.auth.server.model import Approval, AuthorizationRequest, Client, OAuthError
from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.urls import Urls
from mcp_edge.settings import Settings
from mcp_edge.storage.ports import AtomicStore, Entry, RecordStore
from mcp_edge.user import User
from tests.support.clock import Clock

T = TypeVar("T")

URLS = Urls("https://notes.example")
CALLBACK = "https://app.example/callback"
ANN = User(issuer="dev", subject="ann", name="Ann")
APP = Client("app", "App", (CALLBACK,), "static")
OTHER = Client("other", "Other", (CALLBACK,), "static")
SCOPES = Scopes([
    Scope("notes:read", "read your notes", read_only=True),
    Scope("notes:write", "change your notes", implies=("notes:read",)),
    Scope("notes:share", "share your notes", on_demand=True),
])  # fmt: skip
VERIFIER = "a-verifier-of-at-least-forty-three-characters~1"
HERE = URLS.accepted_at("/mcp")
RING = ("the-secret-of-all-instances-0123456789",)


class Killed(Exception):
    """The process ended."""


class Fate(Enum):
    """What becomes of an operation of the store."""

    KILLED_BEFORE = "the process ends, the operation never was"
    KILLED_AFTER = "the operation is done, the process ends"
    REFUSED = "the store cannot be reached"
    LOST = "the operation is done, its answer is lost"


@dataclass
class Trouble:
    """Both ports, with a fate for one operation (the first is 1), and something that happens right before it."""

    records_: RecordStore
    atomics_: AtomicStore
    at: int = 0
    fate: Fate | None = None
    meanwhile: Callable[[], Awaitable[object]] | None = None
    log: list[str] = field(default_factory=list[str])

    async def do(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        self.log.append(name)
        if len(self.log) != self.at:
            return await work()
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.fate is Fate.KILLED_BEFORE:
            raise Killed
        if self.fate is Fate.REFUSED:
            raise StoreUnavailable("on purpose")
        done = await work()
        if self.fate is Fate.KILLED_AFTER:
            raise Killed
        if self.fate is Fate.LOST:
            raise StoreUnavailable("on purpose")
        return done

    @property
    def records(self) -> RecordStore:
        return _Records(self)

    @property
    def atomics(self) -> AtomicStore:
        return _Atomics(self)


@dataclass
class _Records:
    trouble: Trouble

    async def get(self, key: str) -> bytes | None:
        return await self.trouble.do(f"get {key}", lambda: self.trouble.records_.get(key))

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self.trouble.do(f"put {key}", lambda: self.trouble.records_.put(key, value, ttl_s=ttl_s))

    async def delete(self, key: str) -> None:
        await self.trouble.do(f"delete {key}", lambda: self.trouble.records_.delete(key))

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        return await self.trouble.do(
            f"list {prefix}", lambda: self.trouble.records_.list(prefix, after=after, limit=limit)
        )

    async def sweep(self, *, limit: int = 1000) -> int:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


@dataclass
class _Atomics:
    trouble: Trouble

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        store = self.trouble.atomics_
        return await self.trouble.do(f"create {key}", lambda: store.create(key, value, nonce=nonce, ttl_s=ttl_s))

    async def get(self, key: str) -> Entry | None:
        return await self.trouble.do(f"get {key}", lambda: self.trouble.atomics_.get(key))

    async def swap(self, key: str, value: bytes, *, version: int, nonce: str, ttl_s: float | None = None) -> int | None:
        store = self.trouble.atomics_
        return await self.trouble.do(
            f"swap {key}", lambda: store.swap(key, value, version=version, nonce=nonce, ttl_s=ttl_s)
        )

    async def delete(self, key: str) -> None:
        await self.trouble.do(f"delete {key}", lambda: self.trouble.atomics_.delete(key))

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        raise NotImplementedError

    async def sweep(self, *, limit: int = 1000) -> int:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


class GrantInstance:
    """One instance's grants, and what its clients ask of it."""

    def __init__(
        self,
        records: RecordStore,
        atomics: AtomicStore,
        clock: Clock,
        *,
        ring: tuple[str, ...] = RING,
        **settings: Any,
    ) -> None:
        self.records, self.atomics, self.clock = records, atomics, clock
        self._options = settings
        platform = Platform(Settings(public_url=URLS.issuer, auth="oauth", **settings), records, atomics, clock=clock)

        async def declared() -> Scopes:
            return SCOPES

        self.sign_outs = SignOuts(platform)
        self.grants = Grants(platform, KeyRing(ring), URLS, declared, lambda _: True, every_client)

    def elsewhere(self, trouble: Trouble | None = None, *, ring: tuple[str, ...] = RING) -> GrantInstance:
        """Another instance over the same store, or over a troubled one."""
        records, atomics = (trouble.records, trouble.atomics) if trouble else (self.records, self.atomics)
        return GrantInstance(records, atomics, self.clock, ring=ring, **self._options)

    def trouble(self, at: int = 0, fate: Fate | None = None) -> Trouble:
        return Trouble(self.records, self.atomics, at, fate)

    async def code(
        self, *, user: User = ANN, client: Client = APP, resource: str = URLS.issuer, since: str | None = None
    ) -> str:
        """Of a user who has just signed in, unless `since` says otherwise."""
        challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        scopes = frozenset({"notes:write"})
        asked = AuthorizationRequest(client.id, CALLBACK, "state", challenge, resource, scopes, client.recorded_kind)
        approval = Approval(asked, client.name, user, scopes)
        latest = await self.sign_outs.latest(user.principal) if since is None else since
        return await self.grants.approve(approval, since=latest, stands=_it_does)

    async def redeem(
        self,
        code: str,
        client: Client = APP,
        *,
        redirect_uri: str | None = CALLBACK,
        verifier: str = VERIFIER,
        resource: str | None = None,
    ) -> Tokens:
        return await self.grants.redeem(code, client, redirect_uri=redirect_uri, verifier=verifier, resource=resource)

    async def tokens(self, **of: Any) -> Tokens:
        """Those of a new grant."""
        return await self.redeem(await self.code(**of), of.get("client", APP))

    async def refresh(
        self, token: str, client: Client = APP, *, scopes: frozenset[str] | None = None, resource: str | None = None
    ) -> Tokens:
        return await self.grants.refresh(token, client, scopes=scopes, resource=resource)

    async def answers(self, tokens: Tokens, audiences: frozenset[str] = HERE) -> bool:
        """Whether the access token is good."""
        return await self.grants.user(tokens.access_token, audiences) is not None

    async def lives(self, tokens: Tokens) -> tuple[bool, bool]:
        """Whether the access token is good, and whether the refresh token is, which it uses up."""
        good = await self.answers(tokens)
        return good, await refusal(self.refresh(tokens.refresh_token)) is None

    async def apps(self, user: User = ANN) -> list[str]:
        """The clients that the user sees as connected."""
        return [app.client_id for app in await self.grants.of(user.principal)]


async def _it_does() -> bool:
    return True


def every_client(client_id: str, kind: str, redirect_uri: str) -> str:
    """`AcceptedClients.refusal` of a server that has taken no client away."""
    del client_id, kind, redirect_uri
    return ""


async def refusal(work: Awaitable[object]) -> str | None:
    """The error that `work` ends with, or None."""
    try:
        await work
    except OAuthError as e:
        return e.error
    return None
