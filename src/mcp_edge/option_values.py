"""How the text of an option is read: lists, pairs and JSON, as the environment has text alone. It knows no option."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SecretStr

_WHITE = " \t\r\n"
"""What a shell or a file leaves around a value. Whatever else Unicode calls white space is a part of it."""


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


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Users = Annotated[tuple[str, ...], BeforeValidator(_split_whole)]
Ways = Annotated[tuple[Literal["cimd", "dcr"], ...], BeforeValidator(_ways)]
Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]
Documents = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_documents)]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
SecretPairs = Annotated[dict[str, SecretStr], BeforeValidator(_pairs)]
