"""What CONTRIBUTING.md and the hooks before a commit name is there."""

from __future__ import annotations

import re

import pytest

from tests.support.root import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)`?$|`make ([a-z]+)`", PAGE, re.MULTILINE))))
def test_every_command_of_the_page_is_in_the_makefile(target: tuple[str, str]) -> None:
    assert re.search(rf"^{''.join(target)}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)|`((?:tests|src)/[\w/.]+)`", PAGE))))
def test_every_path_of_the_page_exists(path: tuple[str, str]) -> None:
    assert (ROOT / "".join(path)).exists()


def test_the_hooks_are_the_check_s_own_tools_and_fetch_nothing() -> None:
    check = MAKEFILE.partition("\ncheck:")[2].partition("\n\n")[0]
    tools = re.findall(r"entry: \.venv/bin/([\w-]+)", HOOKS)

    assert re.findall(r"repo: (\S+)", HOOKS) == ["local"]
    assert tools == re.findall(r"\$\(BIN\)/([\w-]+)", check)
