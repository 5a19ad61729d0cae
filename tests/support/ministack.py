"""AWS as far as tests need it: `ministack` in a process of its own, on a port of its own, keeping nothing on disk."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.support.fleet import free_port

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
"""What it is content with, as a client's environment."""

_START_S = 60


@contextmanager
def ministack(services: str, python: str = sys.executable) -> Generator[str]:
    """Its URL, while it runs with these services (comma-separated), as `python` has it installed."""
    port = free_port()
    own = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": services, "LOG_LEVEL": "ERROR"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINISTACK_"))} | own
    command = [python, "-W", "ignore", "-m", "ministack"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + _START_S
            while not _answers(port):
                assert process.poll() is None, f"ministack ended with {process.returncode}"
                assert time.monotonic() < deadline, f"ministack did not answer within {_START_S} s"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
