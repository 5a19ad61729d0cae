"""A header's value is its bytes: with one more that looks like nothing it is another value, on every wire."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.protocol.urls import Urls
from mcp_edge.records.changes import Cursor
from mcp_edge.records.stream_log import parse_event_id
from mcp_edge.settings import Settings
from tests.support.deployment import BOTH, ENVELOPE, MODERN, Deployment, json_of, request

pytestmark = pytest.mark.anyio

ODD = [
    "\xa0",
    "\x85",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x1f",
    "\x0b",
    "\x0c",
    "\xc2\xa0",
    "\xe2\x80\x83",
    "\xb2",
    "\xdf",
    "\x00",
]
"""As Latin-1: bytes that some reading takes for white space, letters or digits."""

KELVIN, DOTLESS, WIDE = ("\xe2\x84\xaa", "\xc4\xb1", "\xef\xbd\x8b")
"""UTF-8 of KELVIN SIGN, DOTLESS I and FULLWIDTH K."""

HEADERS: dict[str, tuple[str, int]] = {
    "host": ("Kiss.example", 421),
    "origin": ("https://KISS.example", 403),
    "authorization": ("Bearer alice-key", 401),
    "content-type": ("Application/JSON", 415),
    "content-encoding": ("Identity", 415),
    "accept": ("text/event-stream, Application/JSON", 406),
    "mcp-protocol-version": (MODERN, 400),
    "mcp-method": ("tools/call", 400),
    "mcp-name": ("whoami", 400),
}
"""A value that is served, and the status of one that is not."""


async def status(edge: Deployment, **other: str) -> int:
    """The status of a call of 2026-07-28 with other headers."""
    a = edge.instances[0] if edge.instances else edge.instance("A", auth="keys", public_url="https://kiss.example")
    fields = {name: value for name, (value, _) in HEADERS.items()}
    fields.update({name.replace("_", "-"): value for name, value in other.items()})
    host = fields.pop("host")
    body = json_of(request("tools/call", {"name": "whoami", "_meta": ENVELOPE}))
    return (await a.send("POST", "/mcp", list(fields.items()), body, host=host).whole()).status


@pytest.mark.parametrize("name", HEADERS)
async def test_a_byte_more_is_another_value(edge: Deployment, name: str) -> None:
    good, refused = HEADERS[name]
    option = name.replace("-", "_")
    assert await status(edge) == 200
    spellings = [spelling for odd in ODD for spelling in (odd + good, good + odd)]
    spellings += [good.replace("i", odd, 1) for odd in ODD if "i" in good]
    for spelling in spellings:
        assert (spelling, await status(edge, **{option: spelling})) == (spelling, refused)


@pytest.mark.parametrize(
    ("name", "spelling", "refused"),
    [
        ("host", f"{KELVIN}iss.example", 421),
        ("host", f"k{DOTLESS}ss.example", 421),
        ("host", f"{WIDE}iss.example", 421),
        ("host", "ki\xdf.example", 421),
        ("host", "kiss.example:\xb2", 421),
        ("host", "kiss.example:\xef\xbc\x91", 421),
        ("origin", f"https://{KELVIN}iss.example", 403),
        ("origin", f"https://k{DOTLESS}ss.example", 403),
        ("origin", "http://localhost:\xb2", 403),
        ("origin", "http\xa0://localhost", 403),
        ("authorization", "Bearer\xa0alice-key", 401),
        ("authorization", "Bearer\x1falice-key", 401),
        ("authorization", f"Bearer al{DOTLESS}ce-key", 401),
        ("content_type", f"appl{DOTLESS}cation/json", 415),
        ("content_type", "application/json\xa0; charset=utf-8", 415),
        ("content_encoding", f"{DOTLESS}dentity", 415),
        ("accept", "text/event-stream\xa0, application/json", 406),
        ("accept", "text/event-stream, application/json\x0b", 406),
        ("accept", "text/event-stream\x1c,application/json", 406),
        ("accept", "*/*\x85", 406),
        ("mcp_name", "wh\xc3\xb6ami", 400),
    ],
)
async def test_a_letter_that_folds_to_another_is_not_it(
    edge: Deployment, name: str, spelling: str, refused: int
) -> None:
    assert await status(edge) == 200
    assert await status(edge, **{name: spelling}) == refused


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("host", "KISS.example:443"),
        ("origin", "HTTPS://kiss.EXAMPLE"),
        ("authorization", "bEARER alice-key"),
        ("content_type", "application/json \t; charset=utf-8"),
        ("accept", "\ttext/event-stream \t,\tapplication/json ; q=0.5"),
        ("accept", "application/json;q=1,, text/*"),
        ("accept", "*/*"),
        ("mcp_name", "=?base64?d2hvYW1p?="),
    ],
)
async def test_what_the_standards_allow_is_served(edge: Deployment, name: str, spelling: str) -> None:
    assert await status(edge, **{name: spelling}) == 200


async def test_quality_zero_is_read_with_white_space_and_nothing_else_around_it(edge: Deployment) -> None:
    assert await status(edge, accept="text/event-stream, application/json \t;\tq=0.00") == 406
    assert await status(edge, accept="text/event-stream, application/json;q=0\xb2") == 200


@pytest.mark.parametrize("odd", ODD)
async def test_a_session_version_or_event_with_a_byte_more_is_none(edge: Deployment, odd: str) -> None:
    a = edge.instance("A")
    session = await a.initialize()
    good = {"mcp-session-id": session.id, "mcp-protocol-version": session.version}

    async def ping(method: str = "POST", **other: str) -> int:
        fields = {**good, "content-type": "application/json", "accept": BOTH}
        fields |= {name.replace("_", "-"): value for name, value in other.items()}
        return (await a.send(method, "/mcp", list(fields.items()), json_of(request("ping"))).whole()).status

    assert await ping() == 200
    for spelling in (odd + session.id, session.id + odd):
        assert await ping(mcp_session_id=spelling) == 404
    for spelling in (odd + session.version, session.version + odd):
        assert await ping(mcp_protocol_version=spelling) == 400
    for event in ("c.0.0", f"{'0' * 32}.1"):
        for spelling in (odd + event, event + odd, event.replace("0", odd, 1)):
            assert await ping("GET", last_event_id=spelling) == 400


@pytest.mark.parametrize("length", ["\xb2", "\xb2\xb2\xb2", "1\xa0", "\xef\xbc\x91", "1_0"])
async def test_a_length_that_is_no_number_is_not_read_as_one(edge: Deployment, length: str) -> None:
    """The host refuses it where HTTP is parsed; the body is counted as it comes in any case."""
    a = edge.instance("A", max_body_bytes=1024)
    fields = [("content-length", length), ("content-type", "application/json"), ("accept", BOTH)]

    assert (await a.send("POST", "/mcp", fields, b" " * 2000).whole()).status == 413
    assert (await a.modern("tools/list", headers=[("content-length", length)]).whole()).status == 200


@pytest.mark.parametrize(
    "event",
    [
        "\u00aa" * 32 + ".1",
        "g" * 32 + ".1",
        "A" * 32 + ".1",
        "a" * 32 + ".\u00b2",
        "a" * 32 + ".\uff11",
        "a" * 32 + ".1\n",
    ],
)
def test_an_event_id_is_hexadecimal_and_a_number(event: str) -> None:
    assert parse_event_id(event) is None
    assert parse_event_id("a" * 32 + ".12") == ("a" * 32, 12)
    assert Cursor.parse(event) is None
    assert Cursor.parse("c.\u00b2.0") is None


@pytest.mark.parametrize(
    "resource", ["https://\u212aiss.example", "https://k\u0131ss.example", "https://kiss.example\u00a0"]
)
def test_a_resource_is_ours_in_ascii_only(resource: str) -> None:
    urls = Urls("https://kiss.example")
    assert urls.resource(resource) is None
    assert urls.resource("HTTPS://KISS.example/mcp/") == "https://kiss.example/mcp"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "https://\u212aiss.example"),
        ("PUBLIC_URL", "https://b\u00fccher.example"),
        ("ALLOWED_HOSTS", "a.example, b\u00fccher.example"),
        ("ALLOWED_HOSTS", "a.example, \u212aiss.example"),
        ("ALLOWED_ORIGINS", "https://b\u00fccher.example"),
        ("ALLOWED_HOSTS", "a.example\u00a0, b.example"),
        ("KEYS", "alice\u00a0:" + "0" * 64),
        ("KEYS", "al\u200bice:" + "0" * 64),
        ("KEYS", '{" ": "' + "0" * 64 + '"}'),
    ],
)
def test_an_option_that_no_request_could_match_or_nobody_could_read_ends_the_start(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MCP_{name}: "):
        Settings.from_env({f"MCP_{name}": value})


def test_lists_and_pairs_are_parted_as_a_shell_or_a_file_leaves_them() -> None:
    env: dict[str, Any] = {
        "MCP_JWT_AUDIENCE": " a ,\tb\u00a0,\r\nc,,\n",
        "MCP_KEYS": f" alice:{'0' * 64} ,\nbob:{'1' * 64},",
        "MCP_ALLOWED_HOSTS": "XN--bcher-kva.example,",
    }
    settings = Settings.from_env(env)

    assert settings.jwt_audience == ("a", "b\u00a0", "c")
    assert settings.keys == {"alice": "0" * 64, "bob": "1" * 64}
    assert settings.allowed_hosts == ("XN--bcher-kva.example",)
