"""The artefact holds the transcript under AWS's own runtime and under the streaming one, in whichever environment."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import lambda_artefact as artefact
from tests.support import transcript
from tests.support.fleet import free_port
from tests.support.function_url import answer_of, event
from tests.support.host import Reply
from tests.support.http_host import HttpHost
from tests.support.processes import Processes

from .conftest import Lambda, Mode

START_S = 30


class Emulated(Processes):
    """AWS's runtime client under AWS's runtime interface emulator, which takes one invocation at a time."""

    streaming = False

    def __init__(self, built: Path, env: Mapping[str, str]) -> None:
        super().__init__()
        self._built = built
        self._env = {**env, "AWS_LAMBDA_FUNCTION_TIMEOUT": "20"}
        self._port = free_port()

    def _open(self) -> None:
        addresses = [
            *("--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
            *("--runtime-api-address", f"127.0.0.1:{free_port()}"),
        ]
        command = [str(artefact.rie()), "--log-level", "error", *addresses, *artefact.buffered_command()]
        self._start("emulator", command, cwd=self._built, env=self._env)
        self._awaited("emulator", self._answer, START_S)

    def _answer(self) -> Any:
        try:
            return self.invoke("are you there?")
        except urllib.error.URLError:
            return None

    def invoke(self, payload: Any) -> Any:
        """The function's answer to any event."""
        url = f"http://127.0.0.1:{self._port}/2015-03-31/functions/function/invocations"
        request = urllib.request.Request(url, data=json.dumps(payload).encode())
        with urllib.request.urlopen(request, timeout=START_S) as response:
            return json.loads(response.read())

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send one request as a Function URL would."""
        status, found, raw, _ = answer_of(self.invoke(event(method, path, headers, body)))
        return Reply(status, found, (line for line in raw.splitlines(keepends=True)))


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
def emulated(function: Lambda) -> Iterator[tuple[Emulated, Emulated]]:
    """Two environments over one table."""
    env = function.variables(function.built, transcript.SETTINGS)
    with Emulated(function.built, env) as first, Emulated(function.built, env) as second:
        yield first, second


def test_the_real_runtime_holds_it_twice_in_one_environment(emulated: tuple[Emulated, Emulated]) -> None:
    transcript.play(emulated[0], "ada")
    transcript.play(emulated[0], "bea")


def test_the_real_runtime_holds_it_across_two_alternating_environments(emulated: tuple[Emulated, Emulated]) -> None:
    transcript.play(Alternating(*emulated), "cleo")


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_behind_a_function_url_it_holds_twice_through_frozen_environments(function: Lambda, mode: Mode) -> None:
    front = function.deploy(mode, settings=transcript.SETTINGS)
    streaming = mode == "streamed"
    host = HttpHost(front.url, streaming=streaming, fill=b"\n" if streaming else b"")
    transcript.play(host, "ada")
    transcript.play(host, "bea")
    first, second, *_ = Counter(front.served).most_common()
    assert min(first[1], second[1]) > 10
    assert not front.errors
