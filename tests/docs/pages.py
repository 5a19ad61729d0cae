"""The pages of the documentation and the fenced blocks in them. It runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.root import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    "aws": "needs an AWS account",
    "claude": "needs the client installed",
    "docker": "needs a container engine",
    "gh": "needs a GitHub account",
    "kubectl": "needs a cluster",
    "make bench": "takes minutes, and measures nothing beside other tests",
    "npx wrangler": "needs a Cloudflare account",
    "pywrangler": "needs a Cloudflare account",
    "sam": "deploys to an AWS account; tests/hosts/aws_lambda builds and deploys to an emulator",
    "uv run pywrangler": "needs a Cloudflare account",
    "uvx": "installs a tool of another project",
    "wrangler": "needs a Cloudflare account",
}
"""Commands, as a line begins, that no test machine can run. The README has none of them; a page about a host may."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, as editors read it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def why_not_run(self) -> str:
        """The reason for not running its commands, or nothing."""
        for line in self.text.splitlines():
            words = line.removeprefix("$ ").strip()
            for command, reason in NOT_RUN.items():
                if words == command or words.startswith(command + " "):
                    return reason
        return ""


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found["kind"], found["text"])


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
