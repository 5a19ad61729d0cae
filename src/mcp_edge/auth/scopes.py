"""Scopes: what a fork declares of them, and what each tool, prompt or resource needs. It knows no token and no HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import mcp_types as t

from mcp_edge.errors import ConfigurationError

WHOLE_SERVER = "mcp"

NEEDS = "mcp-edge/scopes"
"""The member of `_meta` that lists the scopes which a tool, resource or template needs."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope (RFC 6749 §3.3), in words for the consent page."""

    name: str
    description: str
    """What it allows, as a sentence that completes "It may …"."""
    implies: tuple[str, ...] = ()
    """Names of the scopes that this one includes."""
    read_only: bool = False
    """Whether it allows no change. The consent page offers to grant the read-only scopes alone."""
    on_demand: bool = False
    """Whether clients ask for it only when an operation needs it, and not at first."""


class Scopes:
    """All scopes of a server. A server that declares none has one, for everything."""

    def __init__(self, declared: Sequence[Scope] = ()) -> None:
        self.declared = bool(declared)
        """Whether the server has declared them itself."""
        self.all = tuple(declared) or (Scope(WHOLE_SERVER, "use this server on your behalf"),)
        self.by_name = {scope.name: scope for scope in self.all}
        self.baseline = frozenset(scope.name for scope in self.all if not scope.on_demand)
        """Names of the scopes that a client is told to ask for, and gets when it names none."""
        self.read_only = frozenset(scope.name for scope in self.all if scope.read_only)

    def closure(self, names: Iterable[str]) -> frozenset[str]:
        """`names` and all scopes that they imply, directly or not."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left += self.by_name[name].implies if name in self.by_name else ()
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Declared:
    """Everything that a server declares about scopes."""

    scopes: Scopes
    prompts: Mapping[str, frozenset[str]]
    """Name of a prompt -> the scopes that it needs. A prompt that is missing here needs none."""

    def says(self, item: t.Tool | t.Prompt | t.Resource | t.ResourceTemplate) -> bool:
        """Whether the server says what the item needs, be it nothing."""
        return item.name in self.prompts if isinstance(item, t.Prompt) else NEEDS in (item.meta or {})


_DECLARED: WeakKeyDictionary[Any, Declared] = WeakKeyDictionary()
_NOTHING = Declared(Scopes(), {})


def requires(*names: str) -> dict[str, Any]:
    """The `meta` of a tool, resource or template that needs all of these scopes: `@server.tool(meta=requires("…"))`.

    Raises:
        ConfigurationError: no scope is named.
    """
    if not names:
        raise ConfigurationError("requires() names no scope.")
    return {NEEDS: list(names)}


def requires_no_scope() -> dict[str, Any]:
    """The `meta` of a tool, resource or template that is meant for every credential, so that no start warns of it."""
    return {NEEDS: []}


def declare_scopes(server: object, *scopes: Scope, prompts: Mapping[str, Sequence[str]] | None = None) -> None:
    """Declare the scopes of a server, once.

    `prompts` says what prompts need, which have no `meta` of their own: name -> scopes, `()` for a prompt that is meant
    for every credential.
    """
    needs = {name: frozenset(needed) for name, needed in (prompts or {}).items()}
    _DECLARED[server] = Declared(Scopes(scopes), needs)


def declared(server: object) -> Declared:
    """What `server` has declared."""
    return _DECLARED.get(server, _NOTHING)


def needs_of(meta: Mapping[str, Any] | None) -> frozenset[str]:
    """What a tool, resource or template with this `_meta` needs."""
    return frozenset((meta or {}).get(NEEDS, ()))
