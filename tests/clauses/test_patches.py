"""Each clause of the protocol is held up by its tests: a product that breaks the clause fails one of them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.clauses import handshake, modern_answers, modern_requests
from tests.clauses.patch import Patch, copy_product
from tests.wires.clauses import CLAUSES
from tests.wires.protocol_map import ROOT, marks

PATCHES = (
    *modern_requests.REQUESTS,
    *modern_answers.ANSWERS,
    *modern_answers.LISTEN,
    *handshake.STREAMABLE_HTTP,
    *handshake.HTTP_SSE,
)

each_patch = pytest.mark.parametrize("patch", PATCHES, ids=str)


def test_every_clause_has_a_patch_that_breaks_it() -> None:
    assert {patch.clause for patch in PATCHES} == CLAUSES.keys()


@each_patch
def test_a_patch_fits_the_product(patch: Patch) -> None:
    assert patch.source().count(patch.old) == 1, f"{patch.file} has changed: the patch needs another place"
    assert patch.patched() != patch.source()
    ast.parse(patch.patched())


def run(product: Path, clauses: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run the tests of `clauses` on the product in a folder, up to the first failure."""
    wanted = set(clauses)
    tests = dict.fromkeys(f"{path.relative_to(ROOT)}::{test}" for clause, path, test in marks() if clause in wanted)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not deep"),
            *("--timeout=60", f"--basetemp={product / 'tests'}", *tests),
        ],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(product)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_a_copy_of_the_product_passes_the_tests_of_every_clause(tmp_path: Path) -> None:
    copy_product(tmp_path)
    found = run(tmp_path, CLAUSES)

    assert found.returncode == pytest.ExitCode.OK, found.stdout


@pytest.mark.deep
@pytest.mark.timeout(300)
@each_patch
def test_a_product_that_breaks_a_clause_fails_a_test_of_it(patch: Patch, tmp_path: Path) -> None:
    copy_product(tmp_path, patch)
    found = run(tmp_path, [patch.clause])

    assert found.returncode == pytest.ExitCode.TESTS_FAILED, found.stdout
