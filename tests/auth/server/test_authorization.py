"""Two processes that take strict turns on one SQLite file authorize as one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import authorization
from tests.support.fleet import Fleet


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A server, reached by its public name."""
    env = {f"MCP_{name.upper()}": value for name, value in authorization.SETTINGS.items()}
    store = f"sqlite:{tmp_path_factory.mktemp('store') / 'oauth.db'}"
    with Fleet(app=authorization.APP, store=store, auth="oauth", env=env) as running:
        yield running


@pytest.mark.parametrize("user", authorization.KEYS)
def test_two_processes_in_strict_turns_authorize_time_after_time(deployed: Fleet, user: str) -> None:
    authorization.play(deployed.url, user)
