"""Remembered consent: for thirty days, for the same user, client, redirect URI, resource and scopes. It knows no page.

Consent to an app on loopback or behind a private-use scheme is not recalled: nobody can tell such apps apart
(RFC 8252 §8.6). The records are in the `AtomicStore`, so that a user's withdrawal holds at once.
"""

from __future__ import annotations

import json

from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import AuthorizationRequest
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.protocol.request import Request
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User

LIFE_S = 30 * 86400


async def remember(
    server: AuthorizationServer, user: User, requested: AuthorizationRequest, chosen: frozenset[str]
) -> None:
    """Remember that `user` has granted `chosen` when asked for `requested`, and that this very request is answered."""
    key = _key(user.principal, requested)
    answered = short_hash(requested.code_challenge)
    record = {"v": 1, "scopes": sorted(chosen), "answered": answered, "client_kind": requested.client_kind}
    value = json.dumps(record).encode()
    while not await upsert(server.platform.atomics, key, lambda _: value, ttl_s=LIFE_S):
        pass


async def stands(server: AuthorizationServer, user: User, requested: AuthorizationRequest) -> bool:
    """Whether the consent that was remembered or recalled is still there: the user may have withdrawn it meanwhile."""
    return await server.platform.atomics.get(_key(user.principal, requested)) is not None


async def recalled(
    server: AuthorizationServer, request: Request, user: User, requested: AuthorizationRequest
) -> frozenset[str] | None:
    """The scopes that `user` granted when asked for the same before; None when the page must be shown.

    The page is shown again when the user granted less than requested: the app may be back because that was not enough.
    It is shown when the user returns to an answered request, with the Back button for example: the PKCE challenge
    tells, since no app uses one twice. Another page could send the browser here, so the page is shown unless the user
    began the navigation (typed an address, followed a link outside the browser); a page of ours is no exception, since
    a redirect may have led there. It is always shown for a program on the user's machine: any other program can listen
    there, or claim the scheme (RFC 8252 §8.6).
    """
    if redirect_uris.is_native(requested.redirect_uri):
        return None
    if request.raw.get(b"sec-fetch-site") != b"none":
        return None
    if request.raw.get(b"sec-fetch-dest") != b"document":
        return None
    entry = await server.platform.atomics.get(_key(user.principal, requested))
    if entry is None:
        return None
    record = json.loads(entry.value)
    if record["v"] != 1 or record["answered"] == short_hash(requested.code_challenge):
        return None
    if record.get("client_kind", "") != requested.client_kind:  # another client that bears the same id
        return None
    return requested.scopes if requested.scopes <= frozenset(record["scopes"]) else None


async def granted_before(server: AuthorizationServer, user: User, client_id: str, redirect_uri: str) -> bool:
    """Whether `user` has granted the client anything at this redirect URI before."""
    prefix = f"{_prefix(user.principal, client_id)}{short_hash(redirect_uri)}/"
    return bool(await server.platform.atomics.read(prefix, limit=1))


async def forget(server: AuthorizationServer, principal: str, client_id: str = "") -> None:
    """Forget the consent of `principal` to one client, or to all clients if `client_id` is empty."""
    prefix = _prefix(principal, client_id)
    store = server.platform.atomics
    while entries := await store.read(prefix):
        for entry in entries:
            await store.delete(entry.key)


def _prefix(principal: str, client_id: str) -> str:
    return f"consent/{short_hash(principal)}/" + (f"{short_hash(client_id)}/" if client_id else "")


def _key(principal: str, requested: AuthorizationRequest) -> str:
    asked = json.dumps([requested.resource, sorted(requested.scopes)])
    place = f"{_prefix(principal, requested.client_id)}{short_hash(requested.redirect_uri)}"
    return f"{place}/{short_hash(asked)}"
