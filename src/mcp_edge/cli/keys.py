"""`mcp-edge keys`: make a static bearer key, or hash one. Only the hash belongs in settings; nothing is stored here."""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from hashlib import sha256

from mcp_edge.errors import ConfigurationError

PREFIX = "mek_"
"""Lets secret scanners recognise a leaked key."""


def run(args: argparse.Namespace) -> int:
    """`keys create NAME` or `keys hash`.

    Raises:
        ConfigurationError: the name cannot stand in `MCP_KEYS`, or there is no key to hash.
    """
    if args.action == "hash":
        key = sys.stdin.readline().strip()
        if not key:
            raise ConfigurationError("keys hash: standard input holds no key.")
        print(digest(key))
        return 0
    if not re.fullmatch(r"[^\s:,]{1,64}", args.name):
        raise ConfigurationError(f"keys create: {args.name!r} must be 1 to 64 characters, no space, colon or comma.")
    key = PREFIX + secrets.token_urlsafe(32)
    print(f"The key of {args.name}, shown this once:\n\n    {key}\n")
    print("Add its hash to the server's settings (several are joined by commas):\n")
    print(f"    MCP_KEYS={args.name}:{digest(key)}")
    return 0


def digest(key: str) -> str:
    """What settings hold of a key. A fast hash is enough: the key is 256 random bits, not a password."""
    return sha256(key.encode()).hexdigest()
