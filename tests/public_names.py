"""What is public, as text: each name with its signature. `python -m tests.public_names` writes public_names.txt anew.

A fork is written against these names. A change of one is seen in the diff of that file, before a release makes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

import mcp_edge
from mcp_edge import errors, settings

SNAPSHOT = Path(__file__).with_name("public_names.txt")
COMMAND = "python -m tests.public_names"
MODULES: tuple[ModuleType, ...] = (mcp_edge, errors, settings)


def text() -> str:
    """The snapshot."""
    return "\n".join([f"# Written by `{COMMAND}`", *(line for module in MODULES for line in _module(module))]) + "\n"


def names(module: ModuleType) -> list[str]:
    """The public names of `module`: those it lists, or those it defines."""
    listed: list[str] | None = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(listed)
    own = module.__name__  # a constant does not say where it is from
    return sorted(
        n
        for n, v in vars(module).items()
        if n[0] != "_" and not isinstance(v, ModuleType) and getattr(v, "__module__", own) == own
    )


def _module(module: ModuleType) -> Iterator[str]:
    yield f"\n[{module.__name__}]"
    for name in names(module):
        value = getattr(module, name)
        if inspect.isclass(value):
            yield from _class(name, value)
        elif callable(value):
            yield f"{name}{_signature(value)}"
        else:
            yield f"{name}: {type(value).__name__}"


def _class(name: str, value: Any) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    yield f"class {name}({bases})"
    if issubclass(value, BaseModel):
        for field, info in value.model_fields.items():
            default = "" if info.is_required() else f" = {info.get_default(call_default_factory=True)!r}"
            yield f"    {field}: {value.__annotations__[field]}{default}"
    else:
        if "__init__" in vars(value):
            yield f"    {_signature(value)}"
        if not is_dataclass(value):
            yield from (f"    {member}: {type_}" for member, type_ in inspect.get_annotations(value).items())
    for member, found in sorted(vars(value).items()):
        called: Any = getattr(found, "__func__", found)
        if member.startswith("_") or hasattr(BaseModel, member):
            continue
        if isinstance(found, property):
            yield f"    {member}: {found.fget.__annotations__['return']}"
        elif inspect.isfunction(called):
            yield f"    {'async ' if inspect.iscoroutinefunction(called) else ''}{member}{_signature(called)}"


class _Bare:
    """An annotation that is shown as it is written, without quotes."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def __repr__(self) -> str:
        return self._annotation if isinstance(self._annotation, str) else inspect.formatannotation(self._annotation)


def _signature(value: Any) -> str:
    signature = inspect.signature(value)
    parameters = [
        each if each.annotation is each.empty else each.replace(annotation=_Bare(each.annotation))
        for each in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=_Bare(signature.return_annotation)))


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")
