"""What `wrangler deploy` would upload, by its own dry run, and that wrangler.toml alone is enough for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.cloudflare.vendor import CONFIG, vendored
from tests.support import sources
from tests.support.node import DEPLOYMENT_MODULES, bin_path, node_command, node_env
from tests.support.root import ROOT

BUILD_COMMAND = "make --silent worker-packages"
PACKAGES = {
    *("_workers_sdk_entropy_import_context.py", "_workers_sdk_package_patches.py", "_workers_sdk_patch_loader.pth"),
    *("_workers_sdk_patch_loader.py", "annotated_types", "anyio", "asgi.py", "attr", "attrs", "certifi", "h11"),
    *("httpcore", "httpx", "httpx2", "httpx2_jsfetch", "idna", "jsonschema", "jsonschema_specifications", "jwt"),
    *("mcp", "mcp_types", "multipart", "opentelemetry", "pydantic", "pydantic_core", "python_multipart"),
    *("referencing", "sse_starlette", "starlette", "typing_extensions.py", "typing_inspection", "workers"),
}
"""Without `cryptography`, `cffi`, `pycparser` and `rpds`, which PyPI has not for Pyodide."""
OTHER_HOSTS = (
    "hosts/aws_lambda/*",
    "hosts/cli/*",
    "storage/choose.py",
    "storage/dynamodb*.py",
    "storage/sqlite.py",
    "telemetry/powertools.py",
)
"""What of `mcp_edge` a Worker has no use for."""
MOST_BYTES = 14 * 2**20
RESERVED_BYTES = 2 * 2**20
"""For those four. What they really take is told by the first deployment alone."""


def _dry_run(folder: Path, *options: str) -> tuple[dict[str, int], str]:
    """The uploaded modules with their sizes, and what wrangler said."""
    command = [
        *node_command(),
        bin_path("wrangler", DEPLOYMENT_MODULES),
        "deploy",
        "-c",
        "wrangler.toml",
        "--dry-run",
        "--outdir",
        "out",
    ]
    quiet = {"HOME": str(folder), "WRANGLER_SEND_METRICS": "false", "WRANGLER_HIDE_BANNER": "true", "NO_COLOR": "1"}
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env={**node_env(), **quiet},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    out = folder / "out"
    files = {str(file.relative_to(out)): file.stat().st_size for file in out.rglob("*") if file.is_file()}
    assert files.pop("README.md")  # wrangler's own, about the folder
    return files, done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fork's checkout with a few things that are nobody's business; its build copies what a sync would vendor."""
    folder = tmp_path_factory.mktemp("fork")
    for name in ("src", "worker", "tests/support"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    for name in (".dev.vars", ".env", "src/.dev.vars", "worker/notes.txt"):
        (folder / name).write_text("MCP_SECRET_KEYS=must-stay-here")
    text = CONFIG.read_text()
    assert f'command = "{BUILD_COMMAND}"' in text
    copy = folder / "copy.py"
    copy.write_text(f"import shutil; shutil.copytree({str(vendored())!r}, 'python_modules', dirs_exist_ok=True)")
    build = f"make --silent worker-sources && {sys.executable} copy.py"
    (folder / "wrangler.toml").write_text(text.replace(BUILD_COMMAND, build))
    return folder


def test_uploaded_are_the_entry_the_sources_and_the_vendored_packages_alone(checkout: Path) -> None:
    files, said = _dry_run(checkout, "--env=")
    ours = {name for name in files if not name.startswith("python_modules/")} - {"entry.py"}
    assert ours == sources.without(OTHER_HOSTS)
    assert sources.lacking(checkout / "out", {*ours, "entry.py"}) == []
    packages = {name.split("/")[1] for name in files if name.startswith("python_modules/")}
    assert {name for name in packages if not name.endswith(".dist-info")} == PACKAGES
    assert sum(files.values()) <= MOST_BYTES - RESERVED_BYTES
    assert "WARNING" not in said


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_each_environment_has_bindings_of_its_own(checkout: Path, environment: str) -> None:
    _, said = _dry_run(checkout, f"--env={environment}")
    bound = {line.split()[0] for line in said.splitlines() if line.startswith("env.")}
    names = {"MCP_AUTH", "MCP_KEYS", "MCP_LEASE_S", "SUBREQUESTS", "KV", "DB", "RATE_LIMIT"}
    assert bound == {f"env.{name}" for name in names}
    assert "WARNING" not in said


def test_no_id_of_an_account_is_in_the_configuration() -> None:
    config: dict[str, Any] = tomllib.loads(CONFIG.read_text())
    environments = [config, *config["env"].values()]
    assert [each["kv_namespaces"] for each in environments] == [[{"binding": "KV"}]] * 3
    assert [each["d1_databases"] for each in environments] == [[{"binding": "DB"}]] * 3
    assert len({each["ratelimits"][0]["namespace_id"] for each in environments}) == 3
    assert "account_id" not in config


def test_no_environment_logs_urls_which_hold_codes_and_session_ids() -> None:
    config: dict[str, Any] = tomllib.loads(CONFIG.read_text())
    assert config["observability"]["logs"]["invocation_logs"] is False
    assert not any("observability" in each for each in config["env"].values())  # they inherit it


def test_the_date_selects_the_pyodide_that_the_tests_run() -> None:
    config: dict[str, Any] = tomllib.loads(CONFIG.read_text())
    assert config["compatibility_date"] >= "2026-09-08"
    assert config["compatibility_flags"] == ["python_workers", "global_fetch_strictly_public"]
    assert '"pyodide": "314.0.6"' in (ROOT / "tests" / "package.json").read_text()
