"""Who is calling: the credential of a request -> a user, or a refusal. It knows no MCP message."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Protocol

from mcp_edge.audit import decided
from mcp_edge.auth.scopes import Scopes
from mcp_edge.errors import ConfigurationError, Problem, Unauthenticated, UpstreamError
from mcp_edge.protocol.request import Header, Request
from mcp_edge.settings import Settings
from mcp_edge.text.ascii import lowered
from mcp_edge.user import User

logger = logging.getLogger(__name__)


class Authenticator(Protocol):
    """Finds out who sends a request, by the credential in it."""

    async def authenticate(self, request: Request) -> User:
        """The user.

        Raises:
            Unauthenticated: there is no credential, or it is not valid here.
            UpstreamError: the issuer of the credential cannot be reached.
        """
        ...

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """The headers of a 403: the challenge that says which scopes this request needs (RFC 6750 §3.1)."""
        ...


class Nobody:
    """`auth=none`: everybody is the one local user. For loopback only; the wrapper sees to that."""

    def __init__(self) -> None:
        self._user = User(issuer="local", subject="local", name="Local user")

    async def authenticate(self, request: Request) -> User:
        """The local user."""
        del request
        return self._user

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """Never happens with `auth=none`; answered for completeness."""
        return step_up(request, needed)


def bearer(request: Request) -> bytes | None:
    """The token behind the scheme Bearer (RFC 6750 §2.1). None for any other scheme: an unknown scheme counts as no
    credential, which is no error (§3.1)."""
    scheme, _, token = request.raw.get(b"authorization", b"").partition(b" ")
    return token if scheme == b"Bearer" or lowered(scheme) == b"bearer" else None


def access_keys(keys: Mapping[str, str]) -> dict[bytes, User]:
    """The users of `Settings.keys` (name -> `digest`, or `digest:scope scope`) by the digest of their key.

    A user's scopes are those that the setting names, without what they imply. The table leaks nothing: each digest is
    that of 256 random bits.
    """
    users: dict[bytes, User] = {}
    for name, value in keys.items():
        digest, limited, words = value.partition(":")
        scopes = frozenset(words.split(" ")) if limited else None
        users[bytes.fromhex(digest)] = User(issuer="keys", subject=name, name=name, scopes=scopes)
    return users


def refuse_undeclared(settings: Settings, scopes: Scopes) -> None:
    """Refuse settings that limit a key or a client by a scope which the server does not declare. Such a scope is
    misspelt, or was renamed in the server.

    Raises:
        ConfigurationError: the message names the entry and the scope.
    """
    limits: list[tuple[str, str]] = []
    if settings.auth in ("keys", "oauth"):
        parted = (value.partition(":") for value in settings.keys.values())
        limits += [(f"MCP_KEYS: entry {n}", words) for n, (_, limited, words) in enumerate(parted, 1) if limited]
    if settings.auth == "oauth":
        documents = enumerate(settings.clients, 1)
        limits += [
            (f"MCP_CLIENTS: client {n}", document["scope"]) for n, document in documents if document.get("scope")
        ]
    for where, words in limits:
        if unknown := [word for word in words.split(" ") if word not in scopes.by_name]:
            if scopes.declared:
                raise ConfigurationError(
                    f"{where} has the scope {unknown[0]}, which the server does not declare. It declares "
                    f"{', '.join(sorted(scopes.by_name))}."
                )
            logger.warning("%s has the scope %s, but the server declares none: nothing is limited", where, unknown[0])


class BearerKeys:
    """`auth=keys`: static bearer keys, known and compared by their SHA-256 only."""

    def __init__(self, keys: Mapping[str, str], scopes: Callable[[], Awaitable[Scopes]]) -> None:
        """`keys` as the settings have them; `scopes` are those of the server."""
        self._users = access_keys(keys)
        self._scopes = scopes
        self._whole: dict[User, User] = {}
        """Users with scopes -> the same with what those imply."""

    async def authenticate(self, request: Request) -> User:
        """The user whose key was sent (RFC 6750 §2.1); a key in the query is ignored."""
        key = bearer(request)
        if key is None:
            raise refusal("Send a bearer key: Authorization: Bearer KEY.", "Bearer")
        user = self._users.get(sha256(key).digest())
        if user is None:
            decided(request.path, "refused", reason="unknown key")
            raise refusal("The bearer key is not valid here.", 'Bearer error="invalid_token"')
        return user if user.scopes is None else self._whole.get(user) or await self._with_implied(user, user.scopes)

    async def _with_implied(self, user: User, names: Collection[str]) -> User:
        whole = self._whole[user] = replace(user, scopes=(await self._scopes()).closure(names))
        return whole

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """The challenge of a key. A key keeps the scopes it was made with, so nobody can grant more."""
        return step_up(request, needed)


def step_up(request: Request, needed: Collection[str]) -> Mapping[str, str]:
    """The headers of a 403 where no metadata says who could grant more (RFC 6750 §3.1)."""
    del request
    challenge = f'Bearer error="insufficient_scope", scope="{" ".join(sorted(needed))}"'
    return {"www-authenticate": challenge, "cache-control": "no-store"}


def refusal_headers(authenticator: Authenticator, problem: Problem, request: Request) -> list[Header]:
    """The headers of an answer that refuses. One to a credential that lacks a scope says how to get it."""
    needed = problem.needed_scopes
    headers = problem.headers if needed is None else authenticator.step_up(request, needed)
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def still_valid(authenticator: Authenticator, request: Request, user: User) -> bool:
    """Whether the credential that opened a stream still names the same user and app, and still allows as much."""
    try:
        now = await authenticator.authenticate(request)
    except (Unauthenticated, UpstreamError):
        return False
    same = now.principal == user.principal and now.client == user.client
    return same and (now.scopes is None or (user.scopes is not None and user.scopes <= now.scopes))


def refusal(message: str, challenge: str) -> Unauthenticated:
    """401 for a request without the right credential; `challenge` is what `WWW-Authenticate` says."""
    return Unauthenticated(message, code=-32000, headers={"www-authenticate": challenge, "cache-control": "no-store"})
