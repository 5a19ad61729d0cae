"""Redirect URIs: which may be registered, and which one a request may use. Pure.

https on any host, or http on loopback, where a native client listens (RFC 8252 §7.3). Other schemes would let one
installed program answer for another, or run as script; those that the operator admits all the same are compared
exactly (RFC 8252 §7.1).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

MAX_CHARS = 2000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?\[\]@!$&'()+,;=-]|%[0-9A-Fa-f]{2})*")
"""Those of a URI (RFC 3986 §2) but for `#`, and `*`, which readers take for a wildcard."""
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_AUTHORITY = re.compile(rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{{0,4}}))?")


def fault(uri: str, schemes: Collection[str] = ()) -> str:
    """Why `uri` cannot be registered, as a sentence; empty when it can. `schemes` are the private-use ones that may."""
    if len(uri) > MAX_CHARS:
        return f"A redirect URI has at most {MAX_CHARS} characters."
    if "#" in uri:
        return "A redirect URI has no fragment."  # RFC 6749 §3.1.2
    if "*" in uri:
        return "A redirect URI has no wildcard: register each one in full."
    if not _CHARACTERS.fullmatch(uri):
        return "A redirect URI has only the characters of a URI (RFC 3986)."
    if uri.partition(":")[0] in schemes:
        rest = uri.partition(":")[2]
        return "" if rest.startswith("/") else "A redirect URI with a scheme of its own goes on with :/ or ://."
    if not uri.startswith(("https://", "http://")):
        return "A redirect URI begins with https://, or with http:// on loopback."
    return _authority_fault(uri)


def _authority_fault(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:  # brackets that hold no IPv6 address
        return "The redirect URI's host cannot be read."
    if "@" in parts.netloc:
        return "A redirect URI has no user information."
    authority = _AUTHORITY.fullmatch(parts.netloc.lower())
    if authority is None or int(authority["port"] or 1) > 65535:
        return "The redirect URI's host or port cannot be read."
    if parts.scheme == "http" and authority["host"] not in LOOPBACK:
        return "A redirect URI with http:// is for loopback only: localhost, 127.0.0.1 or [::1]. Use https://."
    return ""


def allowed(uri: str, registered: tuple[str, ...], schemes: Collection[str] = ()) -> bool:
    """Whether `uri` is one of those registered: exactly, or but for the port on loopback (RFC 8252 §7.3)."""
    if fault(uri, schemes):
        return False
    return uri in registered or any(_same_but_for_port(uri, other) for other in registered if not fault(other))


def _same_but_for_port(uri: str, other: str) -> bool:
    a, b = urlsplit(uri), urlsplit(other)
    if a.scheme != "http" or b.scheme != "http":
        return False
    return _without_port(uri, a) == _without_port(other, b)


def _without_port(uri: str, parts: SplitResult) -> tuple[str | None, str]:
    """The host, and everything behind the authority as it was written."""
    return parts.hostname, uri[len("http://") + len(parts.netloc) :]


def is_loopback(uri: str) -> bool:
    """Whether a valid redirect URI leads to a program on the user's own machine, which cannot prove who it is."""
    return uri.startswith("http://")


def is_native(uri: str) -> bool:
    """The same, and redirect URIs of a private-use scheme, which any installed program can claim."""
    return not uri.startswith("https://")


def is_private(uri: str) -> bool:
    """Whether a valid redirect URI has a private-use scheme."""
    return not uri.startswith(("https://", "http://"))


def is_web(uri: str) -> bool:
    """Whether a valid redirect URI leads to a site, whose host says whose it is."""
    return uri.startswith("https://")


def place(uri: str) -> str:
    """Where a valid redirect URI leads, for people: a host, with its port if there is one, or `scheme:`, behind which
    a program writes what it likes."""
    scheme, _, rest = uri.partition(":")
    return f"{scheme}:" if is_private(uri) else urlsplit(rest).netloc
