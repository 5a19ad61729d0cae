"""A fork's own variables of the function reach its `create_server`."""

from __future__ import annotations

import pytest

from tests.support.http_host import HttpHost
from tests.support.own_settings import APP
from tests.support.session import HostSession, text

from .conftest import Lambda, Mode


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_variables_without_the_prefix_are_extra(once: Lambda, mode: Mode) -> None:
    front = once.deploy(mode, app=APP, variables={"WEATHER_API_KEY": "x" * 17, "WEATHER_UNITS": "metric"})
    session = HostSession(HttpHost(front.url, streaming=mode == "streamed"))

    assert text(session.call("given", name="WEATHER_UNITS")) == "17 metric"
    assert text(session.call("given", name="MCP_AUTH")) == "17 absent"
