"""Who is calling: the credential of a request -> a user, or a refusal. It knows no MCP message."""

from __future__ import annotations

from hashlib import sha256
from typing import Protocol

from mcp_edge.context import User
from mcp_edge.errors import Unauthenticated
from mcp_edge.request import Request


class Authenticator(Protocol):
    """Decides whose request it is."""

    async def authenticate(self, request: Request) -> User:
        """The user.

        Raises:
            Unauthenticated: there is no credential, or it is not valid here.
        """
        ...


class Nobody:
    """`auth=none`: everybody is the one local user. For loopback only; the wrapper sees to that."""

    def __init__(self) -> None:
        self._user = User(issuer="local", subject="local", name="Local user")

    async def authenticate(self, request: Request) -> User:
        """The local user."""
        del request
        return self._user


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


async def still_valid(authenticator: Authenticator, request: Request, principal: str) -> bool:
    """Whether the credential with which a held stream was opened is still that of its principal."""
    try:
        return (await authenticator.authenticate(request)).principal == principal
    except Unauthenticated:
        return False


def _refusal(message: str, challenge: str) -> Unauthenticated:
    return Unauthenticated(message, code=-32000, headers={"www-authenticate": challenge, "cache-control": "no-store"})
