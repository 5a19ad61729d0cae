"""Rows, targets, and how they are printed. It measures nothing."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a number with its unit, its spread, and what it is compared with."""

    part: str
    what: str
    result: str
    spread: str = ""
    against: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A promise and what was measured. `met` is None when it could not be measured."""

    what: str
    limit: str
    measured: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the run found. `data` holds the bare numbers."""

    rows: list[Row]
    targets: list[Target]
    data: dict[str, Any]


def at_most(what: str, measured: float | None, limit: float, unit: str, *, digits: int = 2) -> Target:
    """A target that is met when `measured` is not over `limit`, both as printed."""
    if measured is None:
        return Target(what, f"<= {limit:g} {unit}", "not measured", None)
    return Target(what, f"<= {limit:g} {unit}", f"{measured:.{digits}f} {unit}", round(measured, digits) <= limit)


def at_least(what: str, measured: float | None, limit: float, unit: str) -> Target:
    """A target that is met when `measured` is not under `limit`, both as printed."""
    if measured is None:
        return Target(what, f">= {limit:g} {unit}", "not measured", None)
    return Target(what, f">= {limit:g} {unit}", f"{measured:.1f} {unit}", round(measured, 1) >= limit)


def environment() -> dict[str, str]:
    """The versions that the numbers belong to."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in ("mcp", "pydantic", "starlette", "uvicorn", "h11", "fastmcp"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def markdown(rows: Sequence[Row]) -> str:
    """The one table."""
    lines = ["| part | what | result | spread | against |", "|---|---|---:|---|---|"]
    lines += [f"| {row.part} | {row.what} | {row.result} | {row.spread} | {row.against} |" for row in rows]
    return "\n".join(lines)


def verdicts(targets: Sequence[Target]) -> str:
    """Each target with its measured value."""
    words = {True: "met", False: "MISSED", None: "unknown"}
    return "\n".join(f"{words[t.met]:8}{t.what}: {t.measured} (target {t.limit})" for t in targets)


def as_json(parts: dict[str, Part]) -> dict[str, Any]:
    """Everything, for machines."""
    return {
        "environment": environment(),
        "rows": [asdict(row) for part in parts.values() for row in part.rows],
        "targets": [asdict(target) for part in parts.values() for target in part.targets],
        "data": {name: part.data for name, part in parts.items()},
    }


def progress(text: str) -> None:
    """A word to whoever waits; the table alone is on stdout."""
    print(text, file=sys.stderr, flush=True)
