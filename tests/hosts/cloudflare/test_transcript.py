"""The conversation that every wrapper holds: twice with one isolate, and with two that take strict turns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.cloudflare.isolates import Isolates
from tests.support import transcript
from tests.support.http_host import HttpHost


@pytest.fixture(scope="module")
def deployed() -> Iterator[Isolates]:
    """The example server on two isolates."""
    env = {f"MCP_{name.upper()}": value for name, value in transcript.SETTINGS.items()}
    with Isolates(env=env) as running:
        yield running


@pytest.mark.parametrize("user", ["ada", "bea"])
def test_one_isolate_holds_the_conversation_time_after_time(deployed: Isolates, user: str) -> None:
    transcript.play(HttpHost(f"http://127.0.0.1:{deployed.ports[0]}", streaming=True), user)


def test_two_isolates_in_strict_turns_hold_it_as_one(deployed: Isolates) -> None:
    transcript.play(HttpHost(deployed.url, streaming=True), "cleo")
