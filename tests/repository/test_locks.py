"""Each lock installs what it pins, whatever has been released since, with the oldest pip that a supported Python has.

The packages are stand-ins made here, from a folder: each pin beside a newer release, and each package asks for the next
one with an extra and a range. pip before 23.3 does not apply a pin to such a requirement.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import Marker

from tests.support.root import ROOT

pytestmark = pytest.mark.timeout(300)  # each makes an environment and installs a lock, beside others

OLDEST_PIP = {(3, 11): "22.3", (3, 12): "23.2.1"}.get(sys.version_info[:2])
"""What CPython 3.11.0 and 3.12.0 brought; every later Python brought one that applies pins to extras."""
NEWER = "99999999"
_PIN = re.compile(
    r"^(?P<name>[a-z0-9-]+)(\[(?P<extra>[^]]*)\])?==(?P<version>[^ ;]+)( ; (?P<marker>.+?))? \\$", re.MULTILINE
)
_BACKEND = """
import zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "fork-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("fork-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: fork\\nVersion: 1\\n")
        wheel.writestr("fork-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("fork-1.dist-info/RECORD", "")
    return name
"""
_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "fork"
version = "1"
"""


def _pins(lock: Path) -> list[re.Match[str]]:
    pins = list(_PIN.finditer(lock.read_text()))
    assert len(pins) == len(re.findall(r"^[a-z]", lock.read_text(), re.MULTILINE)), (
        "a line of the lock was not understood"
    )
    return [pin for pin in pins if pin["marker"] is None or Marker(pin["marker"]).evaluate()]


def _wheel(folder: Path, name: str, version: str, requires: list[str]) -> str:
    """Makes an empty distribution; returns the hash of its file."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(
            f"{stem}.dist-info/METADATA", metadata + "".join(f"Requires-Dist: {each}\n" for each in requires)
        )
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _fork(folder: Path, lock: str) -> Path:
    """A checkout whose lock pins stand-ins, in `index/`, by the hashes of theirs."""
    (folder / "requirements").mkdir()
    (folder / "index").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").write_text(_PYPROJECT)
    (folder / "backend.py").write_text(_BACKEND)
    pins = _pins(ROOT / "requirements" / lock)
    lines: list[str] = []
    for pin, other in zip(pins, [*pins[1:], pins[0]], strict=True):
        requires = [f"{other['name']}[extra]>=0"]
        digest = _wheel(folder / "index", pin["name"], pin["version"], requires)
        _wheel(folder / "index", pin["name"], NEWER, requires)
        extra = f"[{pin['extra']}]" if pin["extra"] else ""
        lines.append(f"{pin['name']}{extra}=={pin['version']} \\\n    --hash=sha256:{digest}\n")
    (folder / "requirements" / lock).write_text("".join(lines))
    return folder


def _installed(python: Path) -> dict[str, str]:
    code = "from importlib.metadata import distributions as d; [print(e.name, e.version) for e in d()]"
    said = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in said.splitlines())


def _run(command: list[str | Path], fork: Path) -> subprocess.CompletedProcess[str]:
    """Runs it with `index/` for the only index."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(fork / "index")}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def oldest_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of an environment with nothing but the oldest pip."""
    venv = tmp_path_factory.mktemp("oldest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    if OLDEST_PIP:
        pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", f"pip=={OLDEST_PIP}"], check=True)
    return next(venv.glob("lib/python*/site-packages"))


def _environment(venv: Path, packages: Path) -> Path:
    """Makes an environment with these packages; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    shutil.copytree(packages, next(venv.glob("lib/python*/site-packages")), dirs_exist_ok=True)
    return venv / "bin" / "python"


def _assert_pinned(python: Path, lock: str) -> None:
    installed = _installed(python)
    pins = {pin["name"]: pin["version"] for pin in _pins(ROOT / "requirements" / lock)}
    assert {name: installed.get(name) for name in pins} == pins


@pytest.mark.parametrize(
    ("lock", "stamp"),
    [("serve.txt", ".venv/.serve"), ("dev.txt", ".venv/.dev"), ("bench.txt", ".venv-bench/.installed")],
)
def test_make_installs_what_is_pinned_while_newer_releases_exist(
    tmp_path: Path, lock: str, stamp: str, oldest_pip: Path
) -> None:
    fork = _fork(tmp_path, lock)
    python = _environment(fork / stamp.split("/")[0], oldest_pip)
    made = _run(["make", "--directory", fork, stamp], fork)
    assert made.returncode == 0, made.stdout + made.stderr
    _assert_pinned(python, lock)


@pytest.mark.parametrize("lock", ["lambda.txt", "lambda-test.txt", "worker.txt"])
def test_a_lock_installs_what_it_pins_while_newer_releases_exist(tmp_path: Path, lock: str, oldest_pip: Path) -> None:
    fork = _fork(tmp_path, lock)
    python = _environment(fork / ".venv", oldest_pip)
    pip = [python, "-m", "pip", "install", "--require-hashes", "--no-deps", "-r", fork / "requirements" / lock]
    done = _run(pip, fork)
    assert done.returncode == 0, done.stdout + done.stderr
    _assert_pinned(python, lock)


def test_what_a_lock_lacks_is_told(tmp_path: Path, oldest_pip: Path) -> None:
    fork = _fork(tmp_path, "serve.txt")
    _environment(fork / ".venv", oldest_pip)
    lock = fork / "requirements" / "serve.txt"
    entries = re.split(r"\n(?=[a-z])", lock.read_text())
    lock.write_text("\n".join(entry for entry in entries if not entry.startswith("h11==")))
    made = _run(["make", "--directory", fork, ".venv/.serve"], fork)
    assert made.returncode != 0
    assert "requires h11, which is not installed" in made.stdout
    assert not (fork / ".venv" / ".serve").exists()
