"""The packages of a Worker, as `pywrangler sync` and wrangler.toml have them, from `requirements/worker.txt` and PyPI.

PyPI has no build of `cryptography`, `cffi` and `rpds-py` for Pyodide (Pyodide's own index has): here shims stand in
their places. It runs no Python of the target.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker

from tests.support.root import ROOT

CONFIG = ROOT / "wrangler.toml"
LOCK = ROOT / "requirements" / "worker.txt"
BUILD = ROOT / "build" / "worker"
SHIMS = Path(__file__).with_name("shims")
SHIMMED = frozenset({"cryptography", "cffi", "rpds-py", "pycparser"})
"""What PyPI has not for this platform, and what only these need."""
TARGET = {
    "python_version": "3.14",
    "python_full_version": "3.14.2",
    "sys_platform": "emscripten",
    "platform_system": "Emscripten",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_machine": "wasm32",
    "extra": "",
}
"""Python on Workers from the compatibility date 2026-09-08 on."""
_PIP = [
    "--platform",
    "pyemscripten_2026_0_wasm32",
    "--python-version",
    "3.14",
    "--implementation",
    "cp",
    "--abi",
    "cp314",
]
_REQUIREMENT = re.compile(r"^(?P<name>[a-z0-9-]+)(\[[^]]*\])?==[^ ;]+( ; (?P<marker>[^\\]+))?", re.MULTILINE)


def vendored() -> Path:
    """The folder with the packages; made once for a lock, in about ten seconds, and kept under `build/`.

    Raises:
        subprocess.CalledProcessError: pip could not install them.
    """
    wanted, unwanted = "\n".join(_requirements()), tomllib.loads(CONFIG.read_text())["python_modules"]["exclude"]
    folder = BUILD / f"packages-{hashlib.sha256(f'{wanted} {unwanted}'.encode()).hexdigest()[:16]}"
    if not folder.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=BUILD))
        lock = draft.with_suffix(".txt")
        lock.write_text(wanted)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--target", str(draft)]
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-compile", *_PIP]
        options.append("--ignore-requires-python")  # pip asks it of the interpreter that it runs on
        try:
            subprocess.run([*pip, *options, "-r", str(lock)], check=True, stdin=subprocess.DEVNULL)
            shutil.rmtree(draft / "bin", ignore_errors=True)  # pywrangler vendors no commands
            for pattern in unwanted:
                for file in draft.glob(f"{pattern}/*" if pattern.endswith("**") else pattern):
                    if file.is_file():
                        file.unlink()
            os.rename(draft, folder)  # at once, so that nobody sees half of it
        except OSError:
            if not folder.exists():  # another process was as quick
                raise
        finally:
            lock.unlink()
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _requirements() -> Iterator[str]:
    """The entries of the lock that the target needs and PyPI has, without their markers: pip would judge those by its
    own platform."""
    for entry in re.split(r"\n(?=[a-z0-9])", LOCK.read_text()):
        found = _REQUIREMENT.match(entry)
        if found is None or found["name"] in SHIMMED:
            continue
        if found["marker"] is None or Marker(found["marker"]).evaluate(TARGET):
            yield entry.replace(f" ; {found['marker']}", " ") if found["marker"] else entry
