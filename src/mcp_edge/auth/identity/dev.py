"""`identity=dev`: whoever is at the keyboard picks a name. For loopback, which the start-up sees to."""

from __future__ import annotations

from mcp_edge.auth.identity.provider import SignInRefused
from mcp_edge.text.ascii import stripped
from mcp_edge.user import User

_MAX_CHARS = 64


class Dev:
    """Lets everybody in under the name that they type, for development."""

    label = "Name"
    secret = False

    async def check(self, value: str) -> User:
        """The user of this name.

        Raises:
            SignInRefused: it is empty, too long, or not printable.
        """
        name = stripped(value)
        if not 0 < len(name) <= _MAX_CHARS or not name.isprintable():
            raise SignInRefused(f"A name has 1 to {_MAX_CHARS} printable characters.", "not a name")
        return User(issuer="dev", subject=name, name=name)

    def admits(self, user: User) -> bool:
        """Whoever was let in here stays so."""
        return user.issuer == "dev"
