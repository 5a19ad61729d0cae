"""Vendors the Worker's packages for `wrangler deploy`: the releases and files of `requirements/`, or none.

`pywrangler sync` resolves ranges and takes what it finds. Here it finds what is pinned, and whatever else it brings is
removed before wrangler uploads anything.
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
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

LOCKS = ("requirements/worker.txt", "requirements/pyodide.txt")
"""The later one counts: PyPI lacks some builds for Pyodide, whose own index has them at versions of its own."""
TOOLS = "requirements/worker-tools.txt"
"""What pywrangler installs for itself on this machine beside the packages is of the releases that are locked here."""
_OF_TOOLS = re.compile(r"^pyodide-py==[^\\\n]+", re.MULTILINE)
_ENTRY = re.compile(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;\\\n]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Pin(NamedTuple):
    """A release, and the hashes of its files."""

    version: str
    hashes: frozenset[str]


def pins(root: Path) -> dict[str, Pin]:
    """What the locks allow, by the package's normalized name."""
    found: dict[str, Pin] = {}
    for lock in LOCKS:
        for entry in re.split(r"\n(?=[a-z0-9])", (root / lock).read_text()):
            if match := _ENTRY.match(entry):
                found[match[1]] = Pin(match[2], frozenset(_HASH.findall(entry)))
    return found


def differences(pylock: Mapping[str, Any], allowed: Mapping[str, Pin]) -> Iterator[str]:
    """What a `pylock.toml` (PEP 751) has that the locks do not allow, in words."""
    for package in pylock.get("packages", ()):
        name, version = package["name"], package.get("version")
        pin = allowed.get(name)
        if pin is None:
            yield f"{name} {version} is in no lock of requirements/: 'make lock' puts it there"
        elif version != pin.version:
            yield f"{name} is {version}, where requirements/ has {pin.version}"
        else:
            files = [package[kind] for kind in ("sdist", "archive") if kind in package]
            for file in [*package.get("wheels", ()), *files]:
                if (file.get("hashes", {}).get("sha256") or _digest(file)) not in pin.hashes:
                    yield f"{name} {version}: a file has a hash that requirements/ does not have ({_file_name(file)})"
            if "directory" in package or "vcs" in package:
                yield f"{name} has no hash: it does not come from an index"


def _digest(file: Mapping[str, Any]) -> str | None:
    """The hash of a file whose index names none."""
    url = str(file.get("url"))
    if not url.startswith("https://"):
        return None
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - https, as told just above
        return hashlib.file_digest(answer, "sha256").hexdigest()


def _file_name(file: Mapping[str, Any]) -> str:
    return str(file.get("name") or file.get("url") or file.get("path")).rsplit("/", 1)[-1]


def main(command: list[str], root: Path) -> int:
    """Runs `pywrangler sync` under the locks' versions; returns 0 if it brought just what they allow."""
    allowed = pins(root)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        lines = [f"{name}=={pin.version}" for name, pin in allowed.items()]
        constraints.write("\n".join(lines + _OF_TOOLS.findall((root / TOOLS).read_text())))
        constraints.flush()
        tools = str(Path(sys.executable).parent)
        environment = os.environ | {
            "PATH": tools + os.pathsep + os.environ.get("PATH", ""),
            "UV_NO_BUILD": "1",  # what a source distribution does when it is built, nobody has seen
            "UV_CONSTRAINT": constraints.name,
        }
        done = subprocess.run(command, cwd=root, env=environment, check=False)  # noqa: S603 - the Makefile's command
    if done.returncode:
        return done.returncode
    faults = list(differences(tomllib.loads((root / "pylock.toml").read_text()), allowed))
    if faults:
        shutil.rmtree(root / "python_modules", ignore_errors=True)  # so that a later deploy cannot upload it, either
        print("Not deployed, for what was resolved is not what is locked:", *faults, sep="\n  ", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(["pywrangler", "sync"], Path(__file__).resolve().parent.parent))
