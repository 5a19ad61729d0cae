"""What a tool may ask of its call: the user, the user's records, the bus of changes, the host's HTTP client.

The functions read the current call, so they need no parameter, and work in resolvers and threads. They know no wire.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from mcp_edge.platform import Platform
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User

if TYPE_CHECKING:
    import httpx
    from mcp.server.subscriptions import ServerEvent


class Call(Protocol):
    """What tools may know of the call that is answered."""

    @property
    def user(self) -> User:
        """Whose call it is."""
        ...

    @property
    def platform(self) -> Platform:
        """The host's settings, stores and clients."""
        ...

    async def changed(self, event: ServerEvent) -> None:
        """Tell the user's listeners on every instance that something changed."""
        ...


CURRENT: ContextVar[Call] = ContextVar("mcp-edge.call")


def current_call() -> Call:
    """The call that is being answered.

    Raises:
        RuntimeError: none is: this is no tool, resource or prompt.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise RuntimeError("there is no current call: use this inside a tool, resource or prompt") from None


def current_user() -> User:
    """The user whose call is being answered."""
    return current_call().user


def http() -> httpx.AsyncClient:
    """The host's HTTP client, for APIs that need no credential of the caller's. It is shared: do not close it."""
    return current_call().platform.http()


def http_public() -> httpx.AsyncClient:
    """The host's HTTP client for URLs that a user names: it reaches the public internet over https, and nothing else.

    The client raises `httpx.RequestError` for loopback, private networks and cloud metadata, whatever name leads there.
    It follows no redirect. It is shared: do not close it.
    """
    return current_call().platform.http_public()


class UserState:
    """One user's records in the server's `RecordStore`: JSON values under text keys. No other user sees them."""

    def __init__(self, platform: Platform, principal: str) -> None:
        self._store = platform.records
        self._prefix = f"user/{short_hash(principal)}/"

    async def get(self, key: str) -> Any:
        """The value under `key`, or None."""
        raw = await self._store.get(self._prefix + key)
        return None if raw is None else json.loads(raw)

    async def put(self, key: str, value: Any, *, ttl_s: float | None = None) -> None:
        """Store a JSON value under `key` for `ttl_s` seconds; without `ttl_s` it stays."""
        await self._store.put(self._prefix + key, json.dumps(value).encode(), ttl_s=ttl_s)

    async def delete(self, key: str) -> None:
        """Remove `key`, if there is one."""
        await self._store.delete(self._prefix + key)

    async def keys(self, prefix: str = "", *, after: str = "", limit: int = 100) -> list[str]:
        """The first keys, at most `limit`, that start with `prefix` and come after `after`, in order."""
        start = self._prefix + after if after else ""
        found = await self._store.list(self._prefix + prefix, after=start, limit=limit)
        return [key[len(self._prefix) :] for key in found]


def state() -> UserState:
    """The current user's records."""
    call = current_call()
    return UserState(call.platform, call.user.principal)


class ChangesBus:
    """The SDK's `SubscriptionBus` over the store: `ctx.notify_*` reaches the user's listeners on every instance."""

    async def publish(self, event: ServerEvent) -> None:
        """Write the event to the store, for the current user's listeners."""
        await current_call().changed(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Do nothing: listeners read changes from the store, not from this process."""
        del listener
        return lambda: None


_BUS = ChangesBus()


def changes_bus() -> ChangesBus:
    """The bus for `MCPServer(subscriptions=changes_bus())`."""
    return _BUS
