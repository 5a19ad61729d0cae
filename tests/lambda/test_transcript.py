"""The artefact holds the transcript under AWS's own runtime and under the streaming one, in whichever environment."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import transcript
from tests.support import lambda_artefact as artefact
from tests.support.fleet import free_port
from tests.support.function_url import answer_of, event
from tests.support.host import Reply
from tests.support.http_host import HttpHost

from .conftest import Lambda, Mode

START_S = 30


class Emulated:
    """AWS's runtime client under AWS's runtime interface emulator, which takes one invocation at a time."""

    streaming = False

    def __init__(self, built: Path, env: Mapping[str, str], log: Path, *, timeout_s: int = 20) -> None:
        port = free_port()
        command = [str(artefact.rie()), "--log-level", "error"]
        addresses = [
            *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
            *("--runtime-api-address", f"127.0.0.1:{free_port()}"),
        ]
        self._url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [*command, *addresses, *artefact.buffered_command()],
                cwd=built,
                env={**env, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.invoke("are you there?")
                return
            except urllib.error.URLError:
                assert self._process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)  # a poll under a deadline: nothing announces the emulator

    def invoke(self, payload: Any) -> Any:
        """The function's answer to any event."""
        request = urllib.request.Request(self._url, data=json.dumps(payload).encode())
        with urllib.request.urlopen(request, timeout=START_S) as response:
            return json.loads(response.read())

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send one request as a Function URL would."""
        status, found, raw, _ = answer_of(self.invoke(event(method, path, headers, body)))
        return Reply(status, found, (line for line in raw.splitlines(keepends=True)))

    def close(self) -> None:
        """End the emulator and its runtime."""
        os.killpg(self._process.pid, 9)
        self._process.wait(10)


class Alternating:
    """Several hosts that take strict turns."""

    streaming = False

    def __init__(self, *hosts: Emulated) -> None:
        self._hosts = hosts
        self._turn = 0

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send one request to the host whose turn it is."""
        self._turn += 1
        return self._hosts[self._turn % len(self._hosts)].send(method, path, headers, body)


@pytest.fixture(scope="module")
def emulated(function: Lambda, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulated, Emulated]]:
    """Two environments over one table."""
    folder = tmp_path_factory.mktemp("rie")
    env = function.variables(function.built, transcript.SETTINGS)
    first = Emulated(function.built, env, folder / "first.log")
    second = Emulated(function.built, env, folder / "second.log")
    yield first, second
    logs = (folder / "first.log").read_text() + (folder / "second.log").read_text()
    first.close()
    second.close()
    assert "Traceback" not in logs, logs


def test_the_real_runtime_holds_it_twice_in_one_environment(emulated: tuple[Emulated, Emulated]) -> None:
    transcript.play(emulated[0], "ada")
    transcript.play(emulated[0], "bea")


def test_the_real_runtime_holds_it_across_two_alternating_environments(emulated: tuple[Emulated, Emulated]) -> None:
    transcript.play(Alternating(*emulated), "cleo")


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_behind_a_function_url_it_holds_twice_through_frozen_environments(function: Lambda, mode: Mode) -> None:
    front = function.deploy(mode, settings=transcript.SETTINGS)
    host = HttpHost(front.url, streaming=mode == "streamed")
    transcript.play(host, "ada")
    transcript.play(host, "bea")
    first, second, *_ = Counter(front.served).most_common()
    assert min(first[1], second[1]) > 10
    assert not front.errors
