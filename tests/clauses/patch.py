"""A patch of the product's code that breaks one clause of the protocol. It knows no clause and runs no test."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

PRODUCT = Path(__file__).parents[2] / "src" / "mcp_edge"


@dataclass(frozen=True)
class Patch:
    """One change to one file of the product."""

    clause: str
    """The clause that the patched product does not keep."""
    broken: str
    """What the patched product does instead."""
    file: str
    """The path inside of `mcp_edge`."""
    old: str
    """A text that occurs once in the file."""
    new: str
    """What stands in the place of `old`."""

    def __str__(self) -> str:
        return f"{self.clause}: {self.broken}"

    def source(self) -> str:
        """The text of the file as it is."""
        return (PRODUCT / self.file).read_text(encoding="utf-8")

    def patched(self) -> str:
        """The text of the patched file."""
        return self.source().replace(self.old, self.new)


def copy_product(folder: Path, patch: Patch | None = None) -> None:
    """Copy the product into `folder`, with the patch if there is one. Compiled files come along: their sources keep
    their times, so only the patched file is compiled anew."""
    shutil.copytree(PRODUCT, folder / PRODUCT.name)
    if patch is not None:
        (folder / PRODUCT.name / patch.file).write_text(patch.patched(), encoding="utf-8")
