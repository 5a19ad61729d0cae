"""What `pip install` gets: the packages of `src/`, typed, without tests. Built by the backend that the lock pins."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support.root import ROOT

TYPED = "mcp_edge/py.typed"
"""PEP 561: type checkers believe the annotations of a package that has it."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("src", "tests/support"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder / "dist")], cwd=folder, check=True)
    (built,) = (folder / "dist").glob("*.whl")
    return zipfile.Path(built)


def test_the_wheel_holds_the_packages_of_src_and_nothing_else(wheel: zipfile.Path) -> None:
    sources = {str(file.relative_to(ROOT / "src")) for file in (ROOT / "src").rglob("*.py")}
    names = {name for name in wheel.root.namelist() if not name.endswith("/")}

    assert {name for name in names if ".dist-info/" not in name} == {*sources, TYPED}


def test_the_wheel_names_the_command(wheel: zipfile.Path) -> None:
    (info,) = (each for each in wheel.iterdir() if each.name.endswith(".dist-info"))

    assert (info / "entry_points.txt").read_text() == "[console_scripts]\nmcp-edge = mcp_edge.hosts.cli.main:main\n"
