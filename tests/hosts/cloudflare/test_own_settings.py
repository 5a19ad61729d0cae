"""A fork's own vars and secrets reach its `create_server`; a binding does not."""

from __future__ import annotations

from tests.hosts.cloudflare.isolates import Isolates
from tests.support.http_host import HttpHost
from tests.support.own_settings import APP
from tests.support.session import HostSession, text


def test_vars_and_secrets_without_the_prefix_are_extra() -> None:
    env = {"WEATHER_API_KEY": "x" * 17, "WEATHER_UNITS": "metric", "WEATHER_DAYS": 3}
    with Isolates(app=APP, count=1, env=env) as running:
        session = HostSession(HttpHost(running.url, streaming=True))

        asked = ["WEATHER_UNITS", "WEATHER_DAYS", "MCP_AUTH", "DB", "PATH"]
        assert [text(session.call("given", name=name)) for name in asked] == [
            "17 metric",
            "17 3",
            "17 absent",
            "17 absent",
            "17 absent",
        ]
        assert "x" * 17 not in running.logs(0) + running.errors(0)
