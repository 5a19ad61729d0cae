"""A Worker's `env`: variables and secrets as text, bindings as JavaScript has them."""

from __future__ import annotations

from typing import Any

import js
from workers import python_to_rpc

from mcp_edge.errors import ConfigurationError
from mcp_edge.settings import PREFIX, Settings
from mcp_edge.text.ascii import digits


def variable(env: Any, name: str) -> str:
    """A variable or secret; empty when there is none. A number of wrangler.toml need not be in quotes.

    Raises:
        ConfigurationError: it is a list or the like, which would otherwise be overlooked.
    """
    value = getattr(env, name, None)
    if value is None or _is_text(value):
        return "" if value is None else str(value)
    raise ConfigurationError(f"{name} must be text: put it in quotes in wrangler.toml")


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def count(env: Any, name: str, default: int) -> int:
    """A variable that is a whole number from 1.

    Raises:
        ConfigurationError: it is none.
    """
    value = variable(env, name) or str(default)
    if not digits(value) or int(value) < 1:
        raise ConfigurationError(f"{name} must be a whole number from 1")
    return int(value)


def variables(env: Any) -> dict[str, str]:
    """The variables and secrets: the server's options, and what else is text or a number.

    Raises:
        ConfigurationError: an option is a list or the like.
    """
    options = {PREFIX + name.upper() for name in Settings.model_fields}
    return {name: variable(env, name) for name in names(env) if name in options or _is_text(getattr(env, name, None))}


def names(env: Any) -> list[str]:
    """The names of everything in `env`. The SDK's wrapper lists none, so they are those of what it wraps."""
    return list(js.Object.keys(getattr(env, "_env", env)))


def binding(env: Any, name: str) -> Any:
    """A binding without the wrapper of the Workers SDK, whose conversions cost more than the call; None if absent."""
    found = getattr(env, name, None)
    return None if found is None else python_to_rpc(found)
