"""`identity=keys`: users sign in with the access key that `mcp-edge keys create` has made for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from mcp_edge.auth.authenticator import access_keys
from mcp_edge.auth.identity.provider import SignInRefused
from mcp_edge.text.ascii import stripped
from mcp_edge.user import User


class Keys:
    """Access keys, known and compared by digests only, each good for this server alone."""

    label = "Access key"
    secret = True

    def __init__(self, keys: Mapping[str, str], issuer: str) -> None:
        """`keys` as the settings have them: user -> digest, or `digest:scope scope`; `issuer` is the public URL."""
        self._issuer = issuer
        self._users = {
            digest: replace(user, admitted=_entry(digest, user)) for digest, user in access_keys(keys).items()
        }
        self._entries = {user.admitted for user in self._users.values()}

    async def check(self, value: str) -> User:
        """The user whose key this is.

        Raises:
            SignInRefused: it is nobody's, or made for another server.
        """
        key = stripped(value)
        user = self._users.get(sha256(f"{self._issuer}\n{key}".encode("utf-8", "surrogatepass")).digest())
        if user is None or not key:
            raise SignInRefused("This access key is not valid here.", "no such key")
        return user

    def admits(self, user: User) -> bool:
        """Whether the key that the user signed in with is still in the settings, with the scopes that it had."""
        return user.issuer == "keys" and user.admitted in self._entries


def _entry(digest: bytes, user: User) -> str:
    return f"{digest.hex()}:{'' if user.scopes is None else ' '.join(sorted(user.scopes))}"
