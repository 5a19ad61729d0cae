"""How the text of an option is read, as the environment has text alone, and what may be in it. It knows no option."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr

_WHITE = " \t\r\n"
"""What a shell or a file leaves around a value. Whatever else Unicode calls white space is a part of it."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,63}")
_NOT_PRIVATE = frozenset(
    ("about", "blob", "chrome", "chrome-extension", "content", "data", "file", "filesystem", "ftp", "http", "https",
     "intent", "jar", "javascript", "mailto", "moz-extension", "ms-browser-extension", "resource", "sms", "tel", "urn",
     "vbscript", "view-source", "ws", "wss")
)  # fmt: skip
"""Schemes that a browser or a system reads itself."""
OF_NOTHING = frozenset(sha256(text).hexdigest() for text in (b"", b"\n", b"\r\n"))
"""What a shell makes of a variable that is not set."""
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""One scope (RFC 6749 §3.3)."""
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110 §5.1)."""


def is_scope_list(text: str) -> bool:
    """Whether `text` is scopes with one space between them (RFC 6749 §3.3)."""
    return all(_SCOPE.fullmatch(scope) for scope in text.split(" "))


def _parts(text: str) -> list[str]:
    """`a, b` -> `["a", "b"]`."""
    return [part.strip(_WHITE) for part in text.split(",")]


def _split(value: object) -> object:
    """`a, b` -> `("a", "b")`: the environment knows only text."""
    return tuple(filter(None, _parts(value))) if isinstance(value, str) else value


def _split_whole(value: object) -> object:
    """The same, with what is empty: whoever reads it says why that cannot be."""
    return tuple(_parts(value)) if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """`alice:x, bob:y` -> `{"alice": "x", "bob": "y"}`; a JSON object where names have colons or commas in them."""
    if not isinstance(value, str):
        return value
    if value.strip(_WHITE).startswith("{"):
        return _json(value)
    pairs: dict[str, str] = {}
    # No entry is quoted: it may be a secret whose name was forgotten, or whose place was mixed up with the name's.
    for n, part in enumerate(_parts(value), start=1):
        if part:
            name, colon, rest = part.partition(":")
            if not colon or not name or not rest:
                raise ValueError(f"entry {n} is not `name:value`")
            if name in pairs:
                raise ValueError(f"entry {n} has the same name as one before it")
            pairs[name] = rest
    return pairs


def _ways(value: object) -> object:
    """As `_split`; `none` alone is no way at all, since an empty variable counts as absent."""
    parts = _split(value)
    return () if parts == ("none",) else parts


def _documents(value: object) -> object:
    """A JSON list of objects."""
    return _json(value) if isinstance(value, str) else value


def _json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("is JSON that is nested too deeply") from None


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ: of two values for one name, each reader may take another."""
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("is JSON with the same name twice in one object")
    return found


def _ascii(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not name.isascii():
            raise ValueError(f"{name!r} is not ASCII, as requests name it: write it as `xn--…`")
    return value


def _hashed(value: dict[str, str]) -> dict[str, str]:
    digests: set[str] = set()
    for n, (name, key) in enumerate(value.items(), start=1):
        if not name.isprintable() or not name.strip(" "):
            raise ValueError(f"the name of entry {n} has characters that cannot be seen")
        digest, limited, scopes = key.partition(":")
        if len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
            raise ValueError(f"the key of entry {n} must be a SHA-256 in hex, as `mcp-edge keys create` prints it")
        if digest in OF_NOTHING:
            raise ValueError(f"the key of entry {n} is the SHA-256 of an empty text")
        if digest in digests:
            raise ValueError(f"the key of entry {n} is also that of an entry before it")
        digests.add(digest)
        if limited and not is_scope_list(scopes):
            raise ValueError(f"the scopes of entry {n} must be words with one space between them")
    return value


def _field_name(value: str) -> str:
    if not _FIELD_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a header")
    return value


def _private(value: tuple[str, ...]) -> tuple[str, ...]:
    for scheme in value:
        if not _SCHEME.fullmatch(scheme):
            raise ValueError(f"{scheme!r} must be a URI scheme alone, in small letters, such as `cursor`")
        if scheme in _NOT_PRIVATE:
            raise ValueError(f"{scheme!r} is no private-use scheme: it belongs to no app")
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Users = Annotated[tuple[str, ...], BeforeValidator(_split_whole)]
Ways = Annotated[tuple[Literal["cimd", "dcr"], ...], BeforeValidator(_ways)]
Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]
Documents = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_documents)]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
SecretPairs = Annotated[dict[str, SecretStr], BeforeValidator(_pairs)]
Keys = Annotated[Pairs, AfterValidator(_hashed)]
HostNames = Annotated[Words, AfterValidator(_ascii)]
Schemes = Annotated[Words, AfterValidator(_private)]
FieldName = Annotated[str, AfterValidator(_field_name)]
