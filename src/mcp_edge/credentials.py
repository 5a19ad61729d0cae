"""Who is calling: the credential of a request -> a user, or a refusal. It knows no MCP message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Protocol

from mcp_edge.context import User
from mcp_edge.errors import CallerError, InsufficientScope, Unauthenticated
from mcp_edge.request import Header, Request


class Authenticator(Protocol):
    """Decides whose request it is."""

    async def authenticate(self, request: Request) -> User:
        """The user.

        Raises:
            Unauthenticated: there is no credential, or it is not valid here.
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
        """Nobody is restricted here; said all the same."""
        return step_up(request, needed)


class BearerKeys:
    """`auth=keys`: static bearer keys, known and compared by their SHA-256 only."""

    def __init__(self, keys: dict[str, str]) -> None:
        # The digest of 256 bits of randomness tells nothing of the key, so finding it in a table leaks nothing either.
        self._users = {bytes.fromhex(digest): User(issuer="keys", subject=n, name=n) for n, digest in keys.items()}

    async def authenticate(self, request: Request) -> User:
        """The user whose key was sent (RFC 6750 §2.1); a key in the query is ignored."""
        header = request.raw.get(b"authorization")
        if header is None:
            raise _refusal("Send a bearer key: Authorization: Bearer KEY.", "Bearer")
        user = self._users.get(sha256(header[7:]).digest()) if header[:7].lower() == b"bearer " else None
        if user is None:
            raise _refusal("The bearer key is not valid here.", 'Bearer error="invalid_token"')
        return user

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """A key has the scopes that it was made with: there is nowhere to ask for more."""
        return step_up(request, needed)


def step_up(request: Request, needed: Collection[str]) -> Mapping[str, str]:
    """The challenge where no metadata says who could grant more."""
    del request
    challenge = f'Bearer error="insufficient_scope", scope="{" ".join(sorted(needed))}"'
    return {"www-authenticate": challenge, "cache-control": "no-store"}


def refusal_headers(authenticator: Authenticator, e: CallerError, request: Request) -> list[Header]:
    """The headers of an answer that refuses; one that lacks a scope says how to get it."""
    headers = authenticator.step_up(request, e.needed) if isinstance(e, InsufficientScope) else e.headers
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def still_valid(authenticator: Authenticator, request: Request, user: User) -> bool:
    """Whether the credential with which a held stream was opened is still its user's, and allows as much as it did."""
    try:
        now = await authenticator.authenticate(request)
    except Unauthenticated:
        return False
    return now.principal == user.principal and (
        now.scopes is None or (user.scopes is not None and user.scopes <= now.scopes)
    )


def _refusal(message: str, challenge: str) -> Unauthenticated:
    return Unauthenticated(message, code=-32000, headers={"www-authenticate": challenge, "cache-control": "no-store"})
