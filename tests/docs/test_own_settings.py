"""A fork's own options, as docs/configuration.md has them: what the page says runs, and shows no value."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.cli.settings import table
from mcp_edge.settings import Settings
from tests.docs.pages import blocks
from tests.support.fleet import Fleet
from tests.support.http_host import HttpHost
from tests.support.root import ROOT
from tests.support.session import HostSession, text

KEY = "key-of-the-weather-service"
CODE = "\n\n".join(block.text for block in blocks(ROOT / "docs" / "configuration.md") if block.kind == "python")


class Weather(BaseModel):
    """What a fork reads."""

    weather_api_key: SecretStr
    weather_days: int = 1


class Service(BaseHTTPRequestHandler):
    """The weather service: it answers whoever has the key."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == f"Bearer {KEY}"
        body = f"rain in {self.path.partition('city=')[2]}".encode() if known else b""
        self.send_response(200 if known else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("function", ["create_server", "create_server_of_a_model"])
def test_the_page_s_tool_reads_its_own_options(tmp_path: Path, service: str, function: str) -> None:
    (tmp_path / "page.py").write_text(CODE, encoding="utf-8")
    env = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{tmp_path}", "WEATHER_URL": service, "WEATHER_API_KEY": KEY}
    with Fleet(app=f"page:{function}", count=1, store=f"sqlite:{tmp_path / 'mcp.db'}", env=env) as running:
        session = HostSession(HttpHost(running.url, streaming=True))

        assert text(session.call("forecast", city="Bergen")) == "rain in Bergen"


def test_what_has_the_prefix_or_no_value_is_not_extra() -> None:
    settings = Settings.from_env({"MCP_DRAIN_S": "1", "MCP_TIMEOUT": "2", "WEATHER_API_KEY": KEY, "EMPTY": ""})

    assert dict(settings.extra) == {"WEATHER_API_KEY": KEY}
    assert dict(Settings().extra) == {}


def test_a_copy_of_the_settings_keeps_them() -> None:
    settings = Settings.from_env({"WEATHER_API_KEY": KEY})

    assert settings.model_copy(update={"drain_s": 1}).extra["WEATHER_API_KEY"] == KEY
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_no_value_is_shown_or_dumped() -> None:
    settings = Settings.from_env({"WEATHER_API_KEY": KEY})

    for shown in (repr(settings), repr(settings.extra), str(settings.extra), settings.model_dump_json()):
        assert KEY not in shown
    assert "WEATHER_API_KEY" in repr(settings.extra)
    assert KEY not in table({"WEATHER_API_KEY": KEY})


def test_they_cannot_be_changed() -> None:
    settings = Settings.from_env({"WEATHER_API_KEY": KEY})

    with pytest.raises(TypeError, match="does not support item assignment"):
        settings.extra["WEATHER_API_KEY"] = "other"  # pyright: ignore[reportIndexIssue] # that is what is asked
    with pytest.raises(ValidationError, match="Instance is frozen"):
        settings.extra = {}  # pyright: ignore[reportAttributeAccessIssue] # that is what is asked


def test_a_model_of_the_fork_s_own_reads_them() -> None:
    weather = Settings.from_env({"WEATHER_API_KEY": KEY, "WEATHER_DAYS": "3"}).extra_as(Weather)

    assert (weather.weather_api_key.get_secret_value(), weather.weather_days) == (KEY, 3)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "WEATHER_API_KEY: Field required"),
        ({"WEATHER_API_KEY": KEY, "WEATHER_DAYS": KEY}, "WEATHER_DAYS: Input should be a valid integer"),
        ({"WEATHER_API_KEY": "\udcff"}, "WEATHER_API_KEY: is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named_and_not_quoted(env: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as told:
        Settings.from_env(env).extra_as(Weather)
    assert KEY not in str(told.value)
