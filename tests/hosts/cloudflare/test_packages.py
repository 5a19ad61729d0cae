"""What `wrangler deploy` vendors: what the locks have, or nothing. The index is PyPI's, uv is the real one."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.node import NODE_MODULES
from tests.support.root import ROOT

SYNC = """
import pathlib, subprocess
compile = ["uv", "pip", "compile", "pyproject.toml", "--quiet", "--no-header", "--no-build", "-o", "pylock.toml"]
subprocess.run(compile, check=True)
pathlib.Path("python_modules").mkdir()
"""
"""As `pywrangler sync` does it, for this platform: it has no other interpreter to ask here."""


@pytest.fixture(scope="module")
def packages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worker_packages", ROOT / "requirements" / "vendor_worker.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["worker_packages"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fork that needs two of the locked packages; Pyodide builds none of them."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "sync.py").write_text(SYNC)
    return _needing("anyio>=4", "pydantic>=2")(tmp_path)


def _needing(*packages: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        text = (
            f'[project]\nname = "fork"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = {list(packages)!r}\n'
        )
        (folder / "pyproject.toml").write_text(text)
        return folder

    return write


def _main(packages: ModuleType, checkout: Path) -> int:
    return packages.main([sys.executable, "sync.py"], checkout)


def _relock(checkout: Path, change: Callable[[str], str]) -> None:
    lock = checkout / "requirements" / "worker.txt"
    lock.write_text(change(lock.read_text()))


def test_the_first_deployment_resolves_what_is_locked(packages: ModuleType, checkout: Path) -> None:
    assert _main(packages, checkout) == 0
    resolved = {
        each["name"]: each["version"] for each in tomllib.loads((checkout / "pylock.toml").read_text())["packages"]
    }
    assert resolved["pydantic"] == packages.pins(ROOT)["pydantic"].version
    assert (checkout / "python_modules").is_dir()


def test_an_older_release_is_resolved_where_it_is_locked(packages: ModuleType, checkout: Path) -> None:
    entry = "idna==3.10 \\\n    --hash=sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3\n"
    _relock(checkout, lambda text: re.sub(r"^idna==(.|\n)*?(?=^[a-z])", entry, text, flags=re.MULTILINE))
    assert _main(packages, checkout) == 0
    assert 'name = "idna"\nversion = "3.10"' in (checkout / "pylock.toml").read_text()


def test_a_file_with_another_hash_is_not_deployed(
    packages: ModuleType, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _relock(
        checkout, lambda text: re.sub(r"(?<=^anyio==)((.|\n)*?)(?=^[a-z])", _other_hashes, text, flags=re.MULTILINE)
    )
    assert _main(packages, checkout) == 1
    assert "anyio" in capfd.readouterr().err
    assert not (checkout / "python_modules").exists()


def _other_hashes(entry: re.Match[str]) -> str:
    return re.sub(r"[0-9a-f]{64}", "0" * 64, entry[0])


def test_a_package_that_is_not_locked_is_not_deployed(
    packages: ModuleType, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _needing("six")(checkout)
    assert _main(packages, checkout) == 1
    assert "six 1.17.0 is in no lock of requirements/: 'make lock' puts it there" in capfd.readouterr().err
    assert not (checkout / "python_modules").exists()


def test_what_fails_is_not_deployed(packages: ModuleType, checkout: Path) -> None:
    _needing("anyio>=99")(checkout)
    assert _main(packages, checkout) != 0
    assert not (checkout / "python_modules").exists()


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"version": "9"}, "anyio is 9, where requirements/ has "),
    ({"wheels": [{"path": "anyio.whl"}]}, "a file has a hash that requirements/ does not have (anyio.whl)"),
    ({"wheels": [{"url": "http://127.0.0.1/anyio.whl", "hashes": {}}]}, "does not have (anyio.whl)"),
    ({"sdist": {"name": "anyio.tar.gz", "hashes": {"sha256": "0"}}}, "does not have (anyio.tar.gz)"),
    ({"archive": {"path": "anyio.zip", "hashes": {"sha256": "0"}}}, "does not have (anyio.zip)"),
    ({"directory": {"path": "../anyio"}}, "anyio has no hash: it does not come from an index"),
    ({"vcs": {"type": "git"}}, "anyio has no hash: it does not come from an index"),
]


@pytest.mark.parametrize(("package", "said"), OTHERS)
def test_whatever_has_no_locked_hash_is_named(packages: ModuleType, package: dict[str, Any], said: str) -> None:
    allowed = packages.pins(ROOT)
    pylock = {"packages": [{"name": "anyio", "version": allowed["anyio"].version, **package}]}
    (fault,) = packages.differences(pylock, allowed)
    assert said in fault


def test_builds_for_pyodide_are_those_of_its_release(packages: ModuleType) -> None:
    """Of the release whose index pywrangler asks."""
    release = json.loads((NODE_MODULES / "pyodide-index" / "pyodide-lock.json").read_text())["packages"]
    text = (ROOT / "requirements" / "pyodide.txt").read_text()
    entries = dict(re.findall(r"^([a-z0-9-]+)(==[^ ]+ \\\n    --hash=sha256:[0-9a-f]{64})$", text, re.MULTILINE))
    assert entries == {
        name: f"=={release[name]['version']} \\\n    --hash=sha256:{release[name]['sha256']}" for name in entries
    }
    assert set(entries) == {"cffi", "cryptography", "rpds-py"}
    assert (
        f"npm's pyodide {json.loads((NODE_MODULES / 'pyodide-index' / 'package.json').read_text())['version']}" in text
    )


def test_that_index_is_the_one_that_pywrangler_asks() -> None:
    tools = next((ROOT / ".venv-worker-tools").glob("lib/python*/site-packages"))
    index = json.loads((NODE_MODULES / "pyodide-index" / "package.json").read_text())["version"]
    assert f'v = "{index}"' in (tools / "pywrangler" / "utils.py").read_text()
    assert "workers-py==1.17.9" in (ROOT / "requirements" / "worker-tools.txt").read_text()
    assert f"uv=={version('uv')}" in (ROOT / "requirements" / "worker-tools.txt").read_text()
