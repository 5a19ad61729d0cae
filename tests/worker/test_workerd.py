"""What the Worker's code takes for granted of workerd, asked of workerd itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.node import node_command, node_env


def test_workerd_cancels_a_stream_at_the_part_after_its_client_has_left_and_decodes_no_deflate() -> None:
    command = [*node_command(), str(Path(__file__).with_name("workerd.mjs"))]
    done = subprocess.run(command, env=node_env(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "left": True,
        "decoded": {"br": True, "deflate": False, "gzip": True},
    }
