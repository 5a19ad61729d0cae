"""A Worker's `env`: variables and secrets as text, bindings as JavaScript has them."""

from __future__ import annotations

from typing import Any

from workers import python_to_rpc

from mcp_edge.settings import PREFIX, Settings


def variable(env: Any, name: str) -> str:
    """A variable or secret; empty when there is none."""
    value = getattr(env, name, None)
    return value if isinstance(value, str) else ""


def variables(env: Any) -> dict[str, str]:
    """The variables and secrets that are options of the server."""
    names = (PREFIX + name.upper() for name in Settings.model_fields)
    return {name: value for name in names if (value := variable(env, name))}


def binding(env: Any, name: str) -> Any:
    """A binding without the wrapper of the Workers SDK, whose conversions cost more than the call; None if absent."""
    found = getattr(env, name, None)
    return None if found is None else python_to_rpc(found)
