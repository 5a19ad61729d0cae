"""`mcp-edge keys`: make an access key or hash one, and replace the server's secret. Nothing is stored here.

Only the hash of an access key belongs in settings.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shlex
import sys
from hashlib import sha256

from mcp_edge.errors import ConfigurationError
from mcp_edge.settings import Settings
from mcp_edge.text.masking import masked_url

PREFIX = "mek_"
"""Lets secret scanners recognise a leaked key."""

_ROTATION = """\
A new secret, shown this once:

    {secret}

MCP_SECRET_KEYS holds several secrets with commas between them: the first signs and seals, every one verifies and opens.
So nobody is logged out, as long as each step is finished on every instance before the next one begins.

1. Deploy "OLD,NEW", so that every instance knows the new secret before any of them uses it. (Where one instance is
   stopped before the next one starts, begin with step 2.)
2. Deploy "NEW,OLD". From now on the new one signs and seals.
3. Wait until what the old one has signed or sealed has been renewed or has ended: {wait}.
4. Deploy "NEW" alone. A session that was in use all that time ends here, and its client initializes anew.

Deploy it so:

    local, container   set MCP_SECRET_KEYS, and start the server again
    Lambda             aws secretsmanager put-secret-value --secret-id NAME --secret-string "NEW,OLD"
                       and sam deploy, because the function gets its secret when it is deployed
    Worker             npx wrangler secret put MCP_SECRET_KEYS

If somebody else may know the old secret, do not wait: deploy "NEW" alone at once. Then every session, sign-in and token
ends, and users authorize their clients again.
"""
_WAITS = ("session_ttl_s", "refresh_token_ttl_s", "sign_in_ttl_s")


def run(args: argparse.Namespace) -> int:
    """`keys create`, `keys hash` or `keys rotate-secret`.

    Raises:
        ConfigurationError: what was given cannot stand in `MCP_KEYS`, or there is no key to hash.
    """
    match args.action:
        case "create":
            print(_create(args.name, args.user, args.audience, args.scopes))
        case "hash":
            key = sys.stdin.readline().strip()
            if not key:
                raise ConfigurationError("keys hash: standard input holds no key.")
            print(digest(key, args.audience))
        case _:
            print(_rotation(), end="")
    return 0


def _create(name: str | None, user: str | None, audience: str | None, scopes: str | None) -> str:
    holder = user or name or ""
    if user and name and user != name:
        raise ConfigurationError("keys create: NAME and --user name two users; a key has one.")
    if not re.fullmatch(r"[^\s:,]{1,64}", holder):
        raise ConfigurationError(f"keys create: {holder!r} must be 1 to 64 characters, no space, colon or comma.")
    key = PREFIX + secrets.token_urlsafe(32)
    value = f"{holder}:{digest(key, audience)}" + ("" if scopes is None else ":" + " ".join(scopes.split()))
    try:
        Settings.from_env({"MCP_KEYS": value})
    except ConfigurationError:
        raise ConfigurationError(f"keys create: --scopes {scopes!r} must be words, without commas.") from None
    where = f", good at {_audience(audience)} alone" if audience else ""
    return (
        f"The key of {holder}{where}, shown this once:\n\n    {key}\n\n"
        "Add its hash to the server's settings (several are joined by commas):\n\n"
        f"    MCP_KEYS={shlex.quote(value)}"
    )


def digest(key: str, audience: str | None = None) -> str:
    """What settings hold of a key. A fast hash is enough: the key is 256 random bits, not a password.

    With an `audience`, the public URL of one server, the same key has another hash at every server.
    """
    return sha256((key if audience is None else f"{_audience(audience)}\n{key}").encode()).hexdigest()


def _audience(url: str) -> str:
    try:
        return Settings(public_url=url).public_url or ""
    except ValueError:
        raise ConfigurationError(
            f"--audience {masked_url(url)}: must be the server's public URL, as in MCP_PUBLIC_URL."
        ) from None


def _rotation() -> str:
    """The steps. How long to wait is said for the lives that are set here, or for the default ones."""
    settings = Settings.from_env(os.environ)
    longest = max(_WAITS, key=lambda name: getattr(settings, name))
    days = -(-getattr(settings, longest) // 86400)
    wait = f"{days} days with MCP_{longest.upper()}={getattr(settings, longest)}"
    return _ROTATION.format(secret=secrets.token_urlsafe(32), wait=wait)
