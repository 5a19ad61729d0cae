"""Isolates authorize on KV and D1, and not without D1."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.hosts.cloudflare.isolates import Isolates
from tests.support import authorization

ENV = {f"MCP_{name.upper()}": value for name, value in authorization.SETTINGS.items()}


@pytest.fixture(scope="module")
def deployed() -> Iterator[Isolates]:
    """A server on two isolates, KV as late as it may be."""
    with Isolates(app=authorization.APP, env=ENV) as running:
        yield running


@pytest.mark.parametrize("user", authorization.KEYS)
def test_two_isolates_in_strict_turns_authorize_time_after_time(deployed: Isolates, user: str) -> None:
    authorization.play(deployed.url, user)


def test_a_call_in_a_session_reads_its_token_and_its_session_from_kv_and_nothing_else() -> None:
    with Isolates(app=authorization.APP, env=ENV, late=False, proxy=False) as running:
        here, there = (f"http://127.0.0.1:{port}" for port in running.ports)
        token = authorization.authorized(there, "ada")
        session = authorization.opened(there, token)
        authorization.ping(here, token, session)  # what an isolate reads at its first request is not the call's
        running.control(0, "forget")
        authorization.ping(here, token, session)
        operations: dict[str, int] = running.control(0, "operations")
    assert {name: n for name, n in operations.items() if name.startswith(("KV.", "DB."))} == {"KV.get": 2}


def test_without_d1_nothing_is_authorized_and_the_log_says_why() -> None:
    with Isolates(app=authorization.APP, env=ENV, count=1, without=["DB"]) as running:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{running.url}/.well-known/oauth-authorization-server", timeout=30)
        assert refused.value.code == 500
        refused.value.close()
        assert (
            "MCP_AUTH=oauth needs a store where one write wins: on Workers, bind a D1 database as DB"
            in running.errors(0)
        )
