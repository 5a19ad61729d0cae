"""What the Worker's code takes for granted of workerd, asked of workerd itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.node import node_command, node_env


def test_workerd_tells_of_a_client_that_left_decodes_no_deflate_and_reads_headers_as_utf_8() -> None:
    command = [*node_command(), str(Path(__file__).with_name("workerd.mjs"))]
    done = subprocess.run(command, env=node_env(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "left": True,
        "decoded": {"br": True, "deflate": False, "gzip": True},
        "headers": {
            "x-bytes-utf8": "Ł",
            "x-bytes-latin1": "\ufffd",
            "x-bytes-control": "a\x0b\x1c",
            "x-bytes-space": "\u00a0a",
            "x-bytes-two": "a, b",
        },
    }
