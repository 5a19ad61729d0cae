"""Which redirect URIs can be registered, and which of them a request may use."""

from __future__ import annotations

import pytest

from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.protocol.urls import Urls

HONEST = [
    "https://claude.ai/api/mcp/auth_callback",
    "https://app.example/cb?tenant=1&x=%20y",
    "https://app.example:8443/cb",
    "https://app.example",
    "https://xn--bcher-kva.example/cb",
    "https://192.0.2.1/cb",
    "https://[2001:db8::1]:8443/cb",
    "https://app.example/a@b:c",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:33418",
    "http://127.0.0.1:33418/",
    "http://localhost:1/cb",
    "http://[::1]:65535/cb",
]

HOSTILE = [
    "",
    "/cb",
    "//app.example/cb",
    "app.example/cb",
    "https:/app.example/cb",
    "https:app.example/cb",
    "https://",
    "https:///cb",
    "https://?x",
    "https://:443/cb",
    "https://app.example:/cb",
    "https://app.example:0/cb",
    "https://app.example:65536/cb",
    "https://app.example:99999999/cb",
    "https://app.example:44a/cb",
    "https://app.example/cb#fragment",
    "https://app.example/cb#",
    "https://user@app.example/cb",
    "https://user:secret@app.example/cb",
    "https://@app.example/cb",
    "https://app.example@evil.example/cb",
    "https://app.example\\@evil.example/cb",
    "https://evil.example\\.app.example/cb",
    "https:\\\\app.example\\cb",
    "https://app.example%2f@evil.example/cb",
    "https://app.example%00.evil.example/cb",
    "https://app.example/cb\r\nSet-Cookie: a=b",
    "https://app.example/\ncb",
    "https://app.example/\tcb",
    "https://app.example/\x00",
    "https://app.example/\x7f",
    " https://app.example/cb",
    "https://app.example/cb ",
    "https://app.example/c b",
    "https://app.example/<script>",
    'https://app.example/"onload="x',
    "https://app.example/%",
    "https://app.example/%zz",
    "https://*.app.example/cb",
    "https://app.example/*",
    "https://bücher.example/cb",
    "https://app.example/\u202ecb",
    "https://app\u3002example/cb",
    "https://-app.example/cb",
    "https://app..example/cb",
    "https://.app.example/cb",
    "https://[::1/cb",
    "https://[::zz]/cb",
    "https://[v1.x]/cb",
    "https://[::1%25eth0]/cb",
    "http://app.example/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://localhost.evil.example/cb",
    "http://127.0.0.2/cb",
    "http://127.1/cb",
    "http://2130706433/cb",
    "http://0x7f.0.0.1/cb",
    "http://0.0.0.0/cb",
    "http://[::]/cb",
    "http://[::ffff:127.0.0.1]/cb",
    "http://localhost@evil.example/cb",
    "http://localhost:80@evil.example/cb",
    "http://localhost./cb",
    "http:localhost/cb",
    "javascript:alert(1)",
    "javascript://app.example/%0aalert(1)",
    "JavaScript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:https://app.example/x",
    "ftp://app.example/cb",
    "ws://127.0.0.1/cb",
    "myapp://callback",
    "urn:ietf:wg:oauth:2.0:oob",
    "https://app.example/" + "a" * 2000,
]


@pytest.mark.parametrize("uri", HONEST)
def test_https_and_loopback_can_be_registered(uri: str) -> None:
    assert redirect_uris.fault(uri) == ""
    assert redirect_uris.allowed(uri, (uri,))


@pytest.mark.parametrize("uri", HOSTILE)
def test_anything_else_can_neither_be_registered_nor_used(uri: str) -> None:
    assert redirect_uris.fault(uri)
    assert not redirect_uris.allowed(uri, (uri,))


@pytest.mark.parametrize(
    ("uri", "registered"),
    [
        ("http://127.0.0.1:51234/cb", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:33418/cb"),
        ("http://localhost:3000/cb?x=1", "http://localhost:4000/cb?x=1"),
        ("http://[::1]:3000/cb", "http://[::1]/cb"),
    ],
)
def test_on_loopback_the_port_may_vary(uri: str, registered: str) -> None:
    assert redirect_uris.allowed(uri, ("https://app.example/cb", registered))


@pytest.mark.parametrize(
    ("uri", "registered"),
    [
        ("https://app.example:8443/cb", "https://app.example/cb"),
        ("https://app.example/cb/", "https://app.example/cb"),
        ("https://app.example/cb/../cb", "https://app.example/cb"),
        ("https://app.example/%63b", "https://app.example/cb"),
        ("https://app.example/CB", "https://app.example/cb"),
        ("https://APP.example/cb", "https://app.example/cb"),
        ("https://app.example/cb?", "https://app.example/cb"),
        ("https://app.example/cb?x=1", "https://app.example/cb"),
        ("https://app.example/", "https://app.example"),
        ("https://app.example.evil.example/cb", "https://app.example/cb"),
        ("https://evil.example/https://app.example/cb", "https://app.example/cb"),
        ("https://localhost:2/cb", "https://localhost:1/cb"),
        ("http://localhost:3000/cb", "http://127.0.0.1/cb"),
        ("http://[::1]:3000/cb", "http://127.0.0.1/cb"),
        ("http://127.0.0.1:3000/other", "http://127.0.0.1/cb"),
        ("http://127.0.0.1:3000/cb?", "http://127.0.0.1/cb"),
        ("http://127.0.0.1:3000/cb?x=2", "http://127.0.0.1/cb?x=1"),
        ("http://127.0.0.1:3000", "http://127.0.0.1/"),
        ("https://127.0.0.1:3000/cb", "http://127.0.0.1/cb"),
    ],
)
def test_everything_else_is_compared_exactly(uri: str, registered: str) -> None:
    assert redirect_uris.fault(uri) == ""
    assert not redirect_uris.allowed(uri, (registered,))


def test_nothing_is_allowed_to_a_client_that_registered_nothing() -> None:
    assert not redirect_uris.allowed("https://app.example/cb", ())


def test_what_was_stored_before_a_rule_was_made_still_cannot_be_used_to_vary() -> None:
    assert not redirect_uris.allowed("http://evil.example:2/cb", ("http://evil.example/cb",))


@pytest.mark.parametrize(
    ("issuer", "uri", "own"),
    [
        ("https://mcp.example", "https://mcp.example/authorize?client_id=x", True),
        ("https://mcp.example", "HTTPS://MCP.example/cb", True),
        ("https://mcp.example", "https://mcp.example:443/cb", True),
        ("https://example.com/mcp", "https://example.com/app/../mcp/authorize", True),
        ("https://example.com/mcp", "https://example.com/%6dcp/authorize", True),
        ("https://example.com/mcp", "https://example.com/app/cb", False),
        ("https://mcp.example", "https://app.example/cb?to=https://mcp.example/", False),
        ("https://mcp.example", "https://mcp.example.org/cb", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:33418/cb", False),
        ("https://mcp.example", "cursor://mcp.example/cb", False),
    ],
)
def test_an_address_of_this_server_is_told_from_an_apps(issuer: str, uri: str, own: bool) -> None:
    assert Urls(issuer).is_own(uri) is own
