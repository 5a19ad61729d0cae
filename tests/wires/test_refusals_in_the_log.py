"""Each refusal of access is one bounded line with the address that it came from, whichever part has refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import SecretStr

from mcp_edge.auth.modes import AuthMode
from tests.support import deployment
from tests.support.asgi import Headers
from tests.support.deployment import Deployment, Instance, bearer, notification, request
from tests.support.scoped import Badges, scoped_server

pytestmark = pytest.mark.anyio

HERE = {"public_url": "https://mcp.example.com"}
FAR = "198.51.100.7"
PROXY: dict[str, Any] = {"client_address_header": "X-Real-IP"}
STATED = [("x-real-ip", f"10.0.0.1, {FAR}")]
READER = bearer("ann read")

WAYS: dict[str, dict[str, Any]] = {
    "keys": {"auth": "keys"},
    "oauth": {"auth": "oauth", **HERE},
    "jwt": {"auth": "jwt", "jwt_issuer": "https://idp.example", **HERE},
    "access": {"auth": "access", "access_team_domain": "t.cloudflareaccess.com", "access_audience": "a", **HERE},
    "certificates": {"auth": "access", "certificate_header": "x-cert", "proxy_secret": SecretStr("p" * 32), **HERE},
}
REFUSALS: dict[str, tuple[str, Headers, int]] = {
    "unknown key": ("keys", bearer("wrong"), 401),
    "unknown token": ("oauth", bearer("wrong"), 401),
    "unknown jwt": ("jwt", bearer("wrong"), 401),
    "unknown assertion": ("access", [("cf-access-jwt-assertion", "wrong")], 401),
    "certificate without the proxy": ("certificates", [("x-cert", "CN=alice")], 401),
    "proxy without a certificate": ("certificates", [("x-proxy-secret", "p" * 32)], 401),
    "origin": ("keys", [("origin", "https://evil.example")], 403),
    "long origin": ("keys", [("origin", "https://" + "e" * 60_000)], 403),
    "another site": ("keys", [("sec-fetch-site", "cross-site")], 403),
    "host": ("keys", [("host", "evil.example")], 421),
    "long host": ("keys", [("host", "e" * 60_000)], 421),
}


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """The members of each decision, as the JSON form has them. The text form is one bounded line of them, too."""
    found = [record for record in caplog.records if record.name == "mcp_edge.audit"]
    for record in found:
        assert len(record.getMessage().splitlines()) == 1
        assert len(record.getMessage()) < 1500
        assert all(len(value) <= 200 for value in record.__dict__["fields"].values())
    return [record.__dict__["fields"] for record in found]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/mcp"), ("GET", "/sse"), ("POST", "/messages"), ("GET", "/mcp")]
)
async def test_a_request_that_is_refused_at_the_door_has_a_line_with_its_address(
    edge: Deployment, caplog: pytest.LogCaptureFixture, refusal: str, method: str, path: str
) -> None:
    way, headers, status = REFUSALS[refusal]
    a = edge.instance("A", **WAYS[way], **PROXY)
    for stated, address in ((STATED, FAR), ([], "127.0.0.1")):
        caplog.clear()
        host = None if any(name == "host" for name, _ in headers) else "localhost"
        answer = await a.send(method, path, [*headers, *stated], b"{}", host=host).whole()
        assert answer.status == status
        (line,) = lines(caplog)
        assert (line["what"], line["outcome"], line["address"]) == (path, "refused", address)
        assert line["reason"]


async def test_who_sends_no_credential_is_told_to_bring_one_without_a_line(
    edge: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    for way in WAYS.values():
        assert (await edge.instance("A", **way).send("POST", "/mcp", [], b"{}").whole()).status == 401
    assert lines(caplog) == []


async def test_who_is_over_the_rate_limit_has_a_line(edge: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        async def allow(self, key: str) -> bool:
            del key
            return False

    a = edge.instance("A", {"limiter": Full()}, auth="keys", **PROXY)
    answer = await a.post(request("ping"), [*bearer("alice-key"), *STATED]).whole()
    assert answer.status == 429
    (line,) = lines(caplog)
    assert (line["what"], line["address"], line["reason"], len(line["user"])) == ("/mcp", FAR, "rate limit", 12)


@pytest.fixture
def a(edge: Deployment, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """A server whose tools need scopes, behind a proxy."""
    badges = Badges()

    def choose_mode(*_: object) -> AuthMode:
        return AuthMode(badges)

    monkeypatch.setattr("mcp_edge.app.choose_mode", choose_mode)
    monkeypatch.setattr(deployment, "create_server", scoped_server)
    return edge.instance("A", auth="keys", **PROXY)


LONG = "secret://of/" + "x" * 2000


@pytest.mark.parametrize("wire", ["2026-07-28", "2025-11-25", "batch", "sse"])
@pytest.mark.parametrize(
    ("method", "params"),
    [("tools/call", {"name": "look", "arguments": {}}), ("resources/read", {"uri": LONG})],
    ids=["tool", "long resource"],
)
async def test_what_a_credential_does_not_allow_has_a_line_on_every_wire(
    a: Instance, caplog: pytest.LogCaptureFixture, wire: str, method: str, params: dict[str, Any]
) -> None:
    other = bearer("ann other")
    session = await a.initialize("2025-03-26" if wire == "batch" else "2025-11-25", key="ann other")
    caplog.clear()
    message = request(method, params)
    if wire == "2026-07-28":
        await a.modern(method, params, key="ann other", headers=STATED).whole()
    elif wire == "sse":
        stream = await a.send("GET", "/sse", [("accept", "text/event-stream"), *other]).start()
        door = await stream.event()
        assert door is not None
        await a.post(message, [*other, *STATED], path=door.data).whole()
    else:
        body = [message] if wire == "batch" else message
        await a.post(body, [*session.headers, *STATED]).whole()
    (line,) = lines(caplog)
    assert line["what"].startswith(method)
    assert (line["outcome"], line["address"], line["client"]) == ("refused", FAR, "client of ann")
    if method == "resources/read":
        assert line["what"].endswith("…")


async def test_the_line_of_a_call_has_no_field_without_a_bound(a: Instance) -> None:
    long = "x" * 240  # of all these, a name may have the fewest characters
    who = {"io.modelcontextprotocol/clientInfo": {"name": long, "version": long}}
    for method, params in (("tools/call", {"name": long}), (long, None), ("ping", None)):
        await a.modern(method, params, id=long, meta=who, key=f"{long} read").whole()
    await a.post(notification("x"), READER).whole()
    assert a.telemetry.events
    for event in a.telemetry.events:
        assert all(len(str(field)) <= 200 for field in event)
    assert any(event.user.endswith("…") for event in a.telemetry.events)


async def test_what_is_allowed_has_a_line_with_its_address_too(
    edge: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    a = edge.instance("A", **WAYS["oauth"], **PROXY)
    client = {"redirect_uris": ["https://app.example/cb"], "client_name": "n" * 60}
    with caplog.at_level(logging.INFO, "mcp_edge.audit"):
        await a.post(client, STATED, path="/register").whole()
    (line,) = lines(caplog)
    assert (line["what"], line["outcome"], line["address"]) == ("register", "allowed", FAR)
