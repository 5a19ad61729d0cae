"""The fleet that other tests trust: processes die and come back on their port, and no fault stays silent."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.support.fleet import Fleet


def ready(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
        return response.status == 200


def test_a_killed_process_comes_back_on_its_port_and_takes_turns_again(tmp_path: Path) -> None:
    with Fleet(count=2, store=f"sqlite:{tmp_path}/mcp.db") as fleet:
        assert fleet.proxy is not None
        fleet.kill(0)
        assert ready(fleet.url)
        assert fleet.proxy.served == [fleet.ports[1]]
        fleet.start(0)
        assert all(ready(fleet.url) for _ in range(4))
        assert sorted(fleet.proxy.served[1:]) == sorted(fleet.ports * 2)


def crash(fleet: Fleet) -> None:
    os.kill(fleet.pid(0), signal.SIGKILL)
    assert fleet.wait(0) == -signal.SIGKILL


def test_a_process_that_ends_unasked_fails_the_test(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path}/mcp.db"
    with pytest.raises(AssertionError, match="process 0 exited unasked with -9"), Fleet(count=1, store=store) as fleet:
        crash(fleet)


def test_a_process_that_cannot_start_fails_with_its_own_words(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path}/mcp.db"
    with (
        pytest.raises(AssertionError, match="no-such-option"),
        Fleet(count=1, store=store, args=["--no-such-option"]) as fleet,
    ):
        ready(fleet.url)


def test_processes_end_with_the_fleet(tmp_path: Path) -> None:
    with Fleet(count=1, store=f"sqlite:{tmp_path}/mcp.db") as fleet:
        url = fleet.url
        assert ready(url)
    with pytest.raises(OSError, match="refused"):
        ready(url)
