"""Scopes: what a fork declares of them, and what each tool, prompt or resource needs. It knows no token and no HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WHOLE_SERVER = "mcp"


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope (RFC 6749 §3.3), in words for the consent page."""

    name: str
    description: str
    """What it allows, as a sentence that completes "It may …"."""
    implies: tuple[str, ...] = ()
    """Scopes that it includes."""
    read_only: bool = False
    """Whether it allows no change; the consent page offers to grant only these."""
    on_demand: bool = False
    """Not part of what a client is told to ask for at first; it is asked for when an operation needs it."""


class Scopes:
    """All scopes of a server. A server that declares none has one, for everything."""

    def __init__(self, declared: Sequence[Scope] = ()) -> None:
        self.all = tuple(declared) or (Scope(WHOLE_SERVER, "use this server on your behalf"),)
        self.by_name = {scope.name: scope for scope in self.all}
        self.baseline = frozenset(scope.name for scope in self.all if not scope.on_demand)
        """What a client is told to ask for, and gets when it names none."""
        self.read_only = frozenset(scope.name for scope in self.all if scope.read_only)

    def closure(self, names: Iterable[str]) -> frozenset[str]:
        """`names` and everything that they imply."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left += self.by_name[name].implies if name in self.by_name else ()
        return frozenset(found)
