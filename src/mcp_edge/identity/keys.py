"""`identity=keys`: users sign in with the access key that `mcp-edge keys create` has made for them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from mcp_edge.context import User
from mcp_edge.identity.provider import Refused


class Keys:
    """Access keys, known and compared by digests only, each good for this server alone."""

    label = "Access key"
    secret = True

    def __init__(self, keys: Mapping[str, str], issuer: str) -> None:
        """`keys` as the settings have them: user -> digest, or `digest:scopes`; `issuer` is the public URL."""
        self._issuer = issuer
        # The digest of 256 bits of randomness tells nothing of the key, so finding it in a table leaks nothing either.
        self._users = dict(_entry(name, value) for name, value in keys.items())

    async def check(self, value: str) -> User:
        """The user whose key this is.

        Raises:
            Refused: it is nobody's, or made for another server.
        """
        digest = sha256(f"{self._issuer}\n{value.strip()}".encode("utf-8", "surrogatepass")).hexdigest()
        user = self._users.get(digest)
        if user is None:
            raise Refused("This access key is not valid here.", "no such key")
        return user


def _entry(name: str, value: str) -> tuple[str, User]:
    digest, limited, words = value.partition(":")
    scopes = frozenset(words.split()) if limited else None
    return digest, User(issuer="keys", subject=name, name=name, scopes=scopes)
