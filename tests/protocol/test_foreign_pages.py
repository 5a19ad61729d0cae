"""What a page of another site can have a browser ask for: nothing that takes a place or calls a tool."""

from __future__ import annotations

import pytest

from mcp_edge.protocol.guards import WEB_CLIENT_ORIGINS
from tests.support.deployment import Deployment, Instance, bearer

pytestmark = pytest.mark.anyio

LINK = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
FOREIGN = {
    "image": [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
    "script": [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")],
    "link": LINK,
    "frame": [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
    "another port": [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
    "bare": [("sec-fetch-site", "cross-site")],
    "unknown": [("sec-fetch-site", "other-site")],
    "two": [("sec-fetch-site", "same-origin, cross-site")],
}
ANY = ("accept", "image/avif,image/webp,*/*;q=0.8")


async def places(edge: Deployment) -> list[str]:
    """What the store holds, of streams and sessions too."""
    return [*await edge.records.list(""), *(entry.key for entry in await edge.atomics.read(""))]


@pytest.mark.parametrize("auth", ["none", "keys"])
@pytest.mark.parametrize("page", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/sse"), ("GET", "/mcp"), ("HEAD", "/sse"), ("POST", "/mcp"), ("DELETE", "/mcp"), ("POST", "/messages")],
)
async def test_another_sites_page_is_refused_before_anything_is_taken(
    edge: Deployment, auth: str, page: str, method: str, path: str
) -> None:
    a = edge.instance("A", auth=auth)
    await a.send("GET", "/readyz").whole()
    before = await places(edge)
    for headers in ([], bearer("alice-key")):  # a browser has none to send; it would not help
        answer = await a.send(method, path, [*FOREIGN[page], ANY, *headers], b"{}").whole()
        assert answer.status == 403
    assert await places(edge) == before


async def _opens(a: Instance, headers: list[tuple[str, str]]) -> int:
    call = await a.send("GET", "/sse", [("accept", "text/event-stream"), *headers]).start()
    return call.status


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("sec-fetch-mode", "cors")],  # Node's fetch
        [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
        [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")],
        [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("origin", "http://localhost:6274")],
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("origin", "http://127.0.0.1:6274")],
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("origin", "https://added.example")],
    ],
)
async def test_programs_our_own_pages_and_admitted_ones_open_streams(
    edge: Deployment, headers: list[tuple[str, str]]
) -> None:
    assert await _opens(edge.instance("A", allowed_origins="https://added.example"), headers) == 200


@pytest.mark.parametrize("origin", WEB_CLIENT_ORIGINS)
async def test_known_web_clients_are_admitted_where_there_is_a_credential_alone(edge: Deployment, origin: str) -> None:
    headers = [("origin", origin), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")]
    assert await _opens(edge.instance("A", auth="keys"), [*headers, *bearer("alice-key")]) == 200
    for path in ("/mcp", "/sse", "/messages"):
        a = edge.instance("B")
        asked = await a.send("OPTIONS", path, [*headers, ("access-control-request-method", "POST")]).whole()
        assert asked.status == 403
        assert "access-control-allow-origin" not in asked.headers
    assert await _opens(edge.instance("C", allowed_origins=origin), headers) == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/authorize", "/.well-known/oauth-protected-resource", "/"])
async def test_what_is_open_may_be_linked_to_and_not_embedded(edge: Deployment, path: str) -> None:
    a = edge.instance("A", auth="oauth", public_url="http://localhost:8000")
    plain = (await a.send("GET", path).whole()).status
    assert plain != 403
    assert (await a.send("GET", path, LINK).whole()).status == plain
    assert (await a.send("GET", path, FOREIGN["image"]).whole()).status == 403
    assert (await a.send("GET", path, FOREIGN["bare"]).whole()).status == 403


@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource", "/token", "/register"])
async def test_what_is_open_to_programs_of_every_origin_stays_so(edge: Deployment, path: str) -> None:
    a = edge.instance("A", auth="oauth", public_url="http://localhost:8000")
    headers = [("origin", "https://any.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")]
    answer = await a.send("GET", path, headers).whole()
    assert answer.status in (200, 405)
    assert answer.headers["access-control-allow-origin"] == "*"
