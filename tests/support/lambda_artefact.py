"""What `sam build` makes of this repository for this interpreter, and the commands that run it as Lambda does."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.root import ROOT

TOOLS = ROOT / ".venv-lambda" / "bin"
"""`make test` installs requirements/lambda-test.txt there."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
REGION = "eu-west-1"
SECRET = "Zt8mQw3nLx7kVb2pRy6cHd9fJs4gTa5e"


def sam(*args: str, env: dict[str, str] | None = None, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    """Run `sam` on template.yaml, without credentials or telemetry of the machine."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_", "LAMBDA_"))}
    given = {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(
        [str(TOOLS / "sam"), *args],
        cwd=ROOT,
        env={**inherited, **given, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def build(folder: Path, *, arch: str = ARCH, interpreter: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """`sam build` into `folder`, for the Python that runs this."""
    return sam(
        *("build", "--build-dir", str(folder / "build"), "--cache-dir", str(folder / "cache")),
        *("--parameter-overrides", f"Architecture={arch} PythonVersion={PYTHON}"),
        env={"LAMBDA_ARCH": arch, "LAMBDA_PYTHON": PYTHON, "LAMBDA_INTERPRETER": interpreter},
    )


def artefact(folder: Path) -> Path:
    """The built function of `folder`."""
    return folder / "build" / "McpFunction"


def template() -> dict[str, Any]:
    """template.yaml, its short intrinsics written out."""
    code = "import json, sys; from samcli.yamlhelper import yaml_parse; print(json.dumps(yaml_parse(sys.stdin.read())))"
    text = (ROOT / "template.yaml").read_text()
    return json.loads(subprocess.check_output([str(TOOLS / "python"), "-c", code], input=text, text=True))


def fork(built: Path, target: Path, app: str) -> Path:
    """The same artefact with `app` (module:function of this repository) for its server, as a fork of it would be."""
    shutil.copytree(built, target, copy_function=os.link)
    module, _, function = app.partition(":")
    shutil.rmtree(target / "my_server")
    (target / "my_server").mkdir()
    (target / "my_server" / "__init__.py").write_text("")
    source = f"from importlib import import_module\n\ncreate_server = import_module({module!r}).{function}\n"
    (target / "my_server" / "server.py").write_text(source)
    return target


def variables(built: Path, **settings: str) -> dict[str, str]:
    """The environment of the function in `built`, as Lambda and template.yaml set it; `settings` are `MCP_` ones."""
    return {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_FUNCTION_NAME": "mcp",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "LAMBDA_TASK_ROOT": str(built),
        "_HANDLER": "handler.handler",
        "PYTHONPATH": os.pathsep.join([str(built), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": ":UTC",
        "MCP_SECRET_KEYS": SECRET,
        "MCP_AUTH": "none",
        **{f"MCP_{name.upper()}": value for name, value in settings.items()},
    }


def buffered_command() -> list[str]:
    """AWS's own runtime client, which Lambda's managed Python runtime runs."""
    return [str(TOOLS / "python"), "-m", "awslambdaric", "handler.handler"]


def streaming_command(built: Path) -> list[str]:
    """What Lambda runs when `AWS_LAMBDA_EXEC_WRAPPER` is run.sh."""
    return [str(built / "run.sh"), sys.executable, "/var/runtime/bootstrap.py"]


def rie() -> Path:
    """AWS's runtime interface emulator, from the wheel of aws-sam-cli."""
    (found,) = TOOLS.parent.glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCH}")
    return found
