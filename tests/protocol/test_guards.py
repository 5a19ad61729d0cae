"""Who may come in: Host, Origin, CORS, bearer keys."""

from __future__ import annotations

import logging
from hashlib import sha256

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.protocol.guards import WEB_CLIENT_ORIGINS
from mcp_edge.settings import Settings
from tests.support.deployment import MODERN, Deployment, bearer, request, text
from tests.wires.clauses import clause

pytestmark = pytest.mark.anyio

EVIL = [
    "http://localhost:8000.evil.example",
    "http://localhost.evil.example",
    "http://evil.example",
    "http://127.0.0.1.evil.example",
    "https://claude.ai.evil.example",
    "https://evil.example/claude.ai",
    "http://localhost@evil.example",
    "http://evil.example#localhost",
    "http://localhost:8000/path",
    "http://[::1].evil.example",
    "https://claude.ai:444",
    "http://claude.ai",
    "ftp://localhost",
    "localhost",
    "null",
    "*",
    "",
    "\xff",
]


@clause("any.origin")
@pytest.mark.parametrize("origin", EVIL)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/mcp"), ("GET", "/mcp"), ("GET", "/sse"), ("POST", "/messages"), ("OPTIONS", "/mcp")]
)
async def test_an_origin_that_is_not_admitted_is_forbidden_everywhere(
    edge: Deployment, origin: str, method: str, path: str
) -> None:
    answer = await edge.instance("A").send(method, path, [("origin", origin), ("accept", "*/*")]).whole()

    assert answer.status == 403
    assert answer.json["error"]["message"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        *WEB_CLIENT_ORIGINS,
        "http://localhost",
        "http://localhost:6274",
        "https://127.0.0.1:1",
        "http://[::1]:3000",
        "https://mcp.example.com",
        "https://added.example",
    ],
)
async def test_admitted_origins_can_read_the_answer(edge: Deployment, origin: str) -> None:
    a = edge.instance("A", auth="keys", public_url="https://mcp.example.com", allowed_origins="https://added.example")
    answer = await a.modern("tools/list", headers=[("origin", origin)], key="alice-key").whole()

    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"


async def test_a_refusal_and_a_stream_can_be_read_by_an_admitted_origin(edge: Deployment) -> None:
    a = edge.instance("A", auth="keys")
    origin = ("origin", "https://claude.ai")
    refusal = await a.post(request("ping"), [origin]).whole()
    stream = await a.send("GET", "/sse", [origin, ("accept", "text/event-stream"), *bearer("alice-key")]).start()

    assert refusal.headers["access-control-allow-origin"] == "https://claude.ai"
    assert stream.headers["access-control-allow-origin"] == "https://claude.ai"


async def test_a_preflight_needs_no_credential(edge: Deployment) -> None:
    asked = "authorization, content-type, mcp-protocol-version, mcp-param-region"
    headers = [
        ("origin", "https://claude.ai"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", asked),
    ]
    answer = await edge.instance("A", auth="keys").send("OPTIONS", "/mcp", headers).whole()

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-headers"] == asked
    assert answer.headers["access-control-allow-methods"] == "GET, POST, DELETE, OPTIONS"
    assert answer.headers["access-control-allow-origin"] == "https://claude.ai"


async def test_a_star_admits_every_origin_that_names_a_host(edge: Deployment) -> None:
    a = edge.instance("A", allowed_origins="*")
    statuses = [
        (await a.modern("tools/list", headers=[("origin", origin)]).whole()).status
        for origin in ("https://any.example", "null")
    ]

    assert statuses == [200, 403]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:80:80",
        "localhost:8000.evil.example",
        "localhost@evil.example",
        "mcp.example.com.evil.example",
        "",
        " ",
        "\xff",
        "localhost/",
        None,
    ],
)
@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages"])
async def test_a_host_that_is_not_ours_is_misdirected(edge: Deployment, host: str | None, path: str) -> None:
    a = edge.instance("A", public_url="https://mcp.example.com")
    answer = await a.send("POST", path, [("content-type", "application/json")], b"{}", host=host).whole()

    assert answer.status == 421
    assert "MCP_ALLOWED_HOSTS" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:9",
        "[::1]:8000",
        "mcp.example.com",
        "mcp.example.com:443",
        "MCP.example.com",
        "other.example:1",
    ],
)
async def test_our_own_hosts_are_served(edge: Deployment, host: str) -> None:
    a = edge.instance("A", public_url="https://mcp.example.com", allowed_hosts="other.example")

    assert (await a.send("POST", "/mcp", [("content-type", "application/json")], b"{", host=host).whole()).status == 400


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic alice-key",
        "alice-key",
        "Bearer alice-key ",
        "Bearer  alice-key",
        "Bearer alice-ke",
        "Bearer ALICE-KEY",
        "Bearer \xff",
        "Bearer " + "x" * 100_000,
    ],
    ids=lambda header: str(header)[:20],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages")]
)
async def test_without_a_valid_key_nothing_is_served(
    edge: Deployment, method: str, path: str, header: str | None
) -> None:
    headers = [] if header is None else [("authorization", header)]
    answer = await edge.instance("A", auth="keys").send(method, path, headers, b"{}").whole()

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["cache-control"] == "no-store"
    assert ("invalid_token" in answer.headers["www-authenticate"]) is (header or "").startswith("Bearer")


async def test_a_key_that_is_not_valid_is_told_in_the_log_without_the_key(
    edge: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    a = edge.instance("A", auth="keys")
    with caplog.at_level(logging.INFO, "mcp_edge.audit"):
        for key in ("alice-ke", "alice-key"):
            await a.send("POST", "/mcp", [("authorization", f"Bearer {key}")], b"{}").whole()
        await a.send("POST", "/mcp", [], b"{}").whole()  # how clients find out that they need one

    assert [record.message for record in caplog.records] == [
        "what=/mcp outcome=refused address=127.0.0.1 reason='unknown key'"
    ]


async def test_a_key_in_the_query_is_ignored(edge: Deployment) -> None:
    a = edge.instance("A", auth="keys")

    assert (await a.post(request("ping"), path="/mcp?access_token=alice-key&key=alice-key").whole()).status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_valid_key_says_whose_call_it_is(edge: Deployment, scheme: str) -> None:
    a = edge.instance("A", auth="keys")
    params = {"name": "whoami"}
    answer = await a.modern("tools/call", params, headers=[("authorization", f"{scheme} bob-key")]).whole()

    assert text(answer.json) == "bob"
    assert a.telemetry.events[-1].user == "bob"
    assert a.telemetry.events[-1].wire == MODERN


async def test_health_needs_no_credential_and_readiness_ends_with_the_drain(edge: Deployment) -> None:
    a = edge.instance("A", auth="keys")
    before = [(await a.send("GET", path, host="probe").whole()).status for path in ("/healthz", "/readyz")]
    a.drain.draining = True
    after = [(await a.send("GET", path, host="probe").whole()).status for path in ("/healthz", "/readyz")]
    last = await a.modern("tools/list", key="alice-key").whole()

    assert (before, after) == ([200, 200], [200, 503])
    assert last.status == 200


async def test_an_unknown_key_learns_nothing_of_a_session(edge: Deployment) -> None:
    a = edge.instance("A", auth="keys")
    session = await a.initialize(key="alice-key")
    known = await a.post(request("ping"), [("mcp-session-id", session.id), *bearer("wrong")]).whole()
    unknown = await a.post(request("ping"), [("mcp-session-id", "nothing"), *bearer("wrong")]).whole()

    assert known == unknown


@pytest.mark.parametrize("nothing", [b"", b"\n", b"\r\n"])
def test_the_digest_of_nothing_is_no_key(nothing: bytes) -> None:
    """A shell makes it of a variable that is not set, and then everybody would have the key."""
    with pytest.raises(ConfigurationError, match="entry 1 is the SHA-256 of an empty text"):
        Settings.from_env({"MCP_AUTH": "keys", "MCP_KEYS": f"alice:{sha256(nothing).hexdigest()}"})
