"""Steps of a browser that lead elsewhere and back: stored under a random name, sealed for one browser, used once.

It knows no page and no provider, nor what a step holds.
"""

from __future__ import annotations

from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.protocol.signing import mint
from mcp_edge.text.hashing import long_hash

LIFE_S = 600
"""Seconds within which a step must be taken."""


def new_name() -> str:
    """A name that nobody can guess, to be sent along with the browser: a `state` (RFC 6749 §10.12) or a handle."""
    return mint() + mint()


def key_of(name: str) -> str:
    """The key of the step's record. The store has a hash only, so it does not know the name."""
    return f"flow/{long_hash(name)}"


async def put(server: AuthorizationServer, purpose: str, name: str, binding: str, data: bytes) -> None:
    """Store a step for `LIFE_S` seconds. Nobody reads it without its name, purpose and `binding` (`Browsers.binding`,
    empty for any browser)."""
    key = key_of(name)
    sealed = server.ring.seal(purpose, data, context=f"{key}|{binding}", secret=name.encode())
    await server.platform.atomics.create(key, sealed, nonce=mint(), ttl_s=LIFE_S)


async def get(server: AuthorizationServer, purpose: str, name: str, binding: str) -> bytes | None:
    """The step, which stays; None where none of this name, purpose and binding is stored. `name` is anybody's text."""
    key = key_of(name)
    entry = await server.platform.atomics.get(key)
    secret = name.encode("utf-8", "surrogatepass")
    data = entry and server.ring.open(purpose, entry.value, context=f"{key}|{binding}", secret=secret)
    return data or None


async def remove(server: AuthorizationServer, name: str) -> None:
    """Remove a step that was taken."""
    await server.platform.atomics.delete(key_of(name))


async def use(server: AuthorizationServer, key: str, *, ttl_s: float) -> bool:
    """Use up what `key` names, for `ttl_s` seconds. False when it was used before: of all instances one uses it."""
    return await server.platform.atomics.create(key, b"1", nonce=mint(), ttl_s=ttl_s)
