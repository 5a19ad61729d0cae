"""`mcp-edge settings`: every option, from the model itself, so that the table is always true. It shows no secret."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any, cast

from pydantic import SecretStr

from mcp_edge.settings import PREFIX, Settings
from mcp_edge.text.masking import masked_url, short_name

_HASHES = frozenset({"keys"})
"""Options that hold no secret in the clear, yet are shown by their names alone."""


def run(args: argparse.Namespace) -> int:
    """Print the options, as text with their values here, or as Markdown without."""
    print(markdown() if args.markdown else table(os.environ))
    for name in [] if args.markdown else Settings.unknown(os.environ):
        print(f"{name} is set here, and is no option.", file=sys.stderr)
    return 0


def table(env: Mapping[str, str]) -> str:
    """Each option with its value under `env`, its default and its description.

    Raises:
        ConfigurationError: `env` cannot be read.
    """
    settings = Settings.from_env(env)
    rows = [("OPTION", "VALUE", "DEFAULT", "WHAT IT DOES")]
    for name, field in Settings.model_fields.items():
        value = shown(name, getattr(settings, name))
        rows.append((PREFIX + name.upper(), value, _default(name), field.description or ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]) for row in rows
    )


def markdown() -> str:
    """The options as the documentation's table."""
    rows = ["| Variable | Default | What it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        description = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{PREFIX}{name.upper()}` | `{_default(name)}` | {description} |")
    return "\n".join(rows)


def shown(name: str, value: Any) -> str:
    """`value` of the option `name` without its secrets: they are masked or counted, of pairs the names are told."""
    if value is None or value in ((), {}):
        return "-"
    if isinstance(value, SecretStr):
        return "(set)"
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        if name == "clients":  # documents, with the hashes of secrets in them
            return ", ".join(masked_url(str(document.get("client_id", "-"))) for document in items)
        return (
            f"({len(items)} set)" if isinstance(items[0], SecretStr) else ", ".join(masked_url(str(i)) for i in items)
        )
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        masked = name in _HASHES or any(isinstance(v, SecretStr) for v in pairs.values())
        return ", ".join(f"{short_name(k)}:(set)" if masked else f"{short_name(k)}:{v}" for k, v in pairs.items())
    return masked_url(str(value))


def _default(name: str) -> str:
    return shown(name, Settings.model_fields[name].get_default(call_default_factory=True))
