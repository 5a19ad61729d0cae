"""What the resources say of themselves, and to whom."""

from __future__ import annotations

import pytest
from mcp.shared.auth import ProtectedResourceMetadata

from mcp_edge.auth.resource import challenges
from mcp_edge.auth.resource.metadata import MetadataDocuments, resource_metadata
from mcp_edge.auth.scopes import Scope, Scopes
from mcp_edge.protocol.urls import Urls
from tests.auth.server.handlers import client, of

pytestmark = pytest.mark.anyio

HOST = Urls("https://notes.example")
BELOW = Urls("https://example.com/team/notes")
SCOPES = Scopes([Scope("notes:read", "read"), Scope("notes:write", "write"), Scope("admin", "all", on_demand=True)])
FORGED = {
    "host": "evil.example",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "http",
    "x-forwarded-port": "81",
    "x-forwarded-prefix": "/evil",
    "x-original-url": "/evil",
    "forwarded": "for=1.2.3.4;host=evil.example;proto=http",
}


async def declared() -> Scopes:
    return SCOPES


def documents(urls: Urls) -> MetadataDocuments:
    return resource_metadata(urls, declared, authorization_servers=[urls.issuer])


@pytest.mark.parametrize("endpoint", ["", "/mcp", "/sse"])
async def test_each_resource_describes_itself(endpoint: str) -> None:
    async with client(of(documents(HOST).routes())) as http:
        answer = await http.get(f"/.well-known/oauth-protected-resource{endpoint}")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "resource": f"https://notes.example{endpoint}",
            "authorization_servers": ["https://notes.example"],
            "scopes_supported": ["notes:read", "notes:write"],
            "bearer_methods_supported": ["header"],
            "resource_name": "notes.example",
        },
    )
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["access-control-allow-origin"] == "*"
    ProtectedResourceMetadata.model_validate_json(answer.content)


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages"])
@pytest.mark.parametrize("urls", [HOST, BELOW])
async def test_the_url_of_a_challenge_is_answered_with_the_resource_that_was_asked(path: str, urls: Urls) -> None:
    async with client(of(documents(urls).routes())) as http:
        answer = await http.get(challenges.metadata_url(urls, path))
    assert answer.json()["resource"] == urls.at("/mcp" if path == "/mcp" else "/sse")


async def test_behind_a_proxy_that_takes_the_path_off_the_document_is_the_same() -> None:
    async with client(of(documents(BELOW).routes())) as http:
        whole = await http.get("/.well-known/oauth-protected-resource/team/notes/mcp")
        taken_off = await http.get("/.well-known/oauth-protected-resource/mcp")
    assert whole.json() == taken_off.json()


async def test_no_header_changes_a_document() -> None:
    async with client(of(documents(HOST).routes())) as http:
        honest = await http.get("/.well-known/oauth-protected-resource/mcp")
        forged = await http.get("/.well-known/oauth-protected-resource/mcp", headers=FORGED)
    assert forged.content == honest.content
    assert forged.headers == honest.headers


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with client(of(documents(HOST).routes())) as http:
        got = await http.get("/.well-known/oauth-protected-resource")
        head = await http.head("/.well-known/oauth-protected-resource")
    assert (head.status_code, head.headers, head.content) == (200, got.headers, b"")


async def test_a_browser_page_of_any_origin_may_ask_with_any_header() -> None:
    preflight = {
        "origin": "https://anything.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "mcp-protocol-version",
    }
    async with client(of(documents(HOST).routes())) as http:
        answer = await http.options("/.well-known/oauth-protected-resource/mcp", headers=preflight)
    assert answer.status_code == 204
    assert {k: v for k, v in answer.headers.items() if k.startswith("access-control")} == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, HEAD",
        "access-control-allow-headers": "mcp-protocol-version",
        "access-control-expose-headers": "WWW-Authenticate, Retry-After",
        "access-control-max-age": "7200",
    }


async def test_other_methods_are_refused_and_told_which_there_are() -> None:
    async with client(of(documents(HOST).routes())) as http:
        answer = await http.post("/.well-known/oauth-protected-resource/mcp")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/messages", "/other", "/mcp/", "/mcp/x", "//mcp"])
async def test_there_is_no_document_of_anything_else(path: str) -> None:
    async with client(of(documents(HOST).routes())) as http:
        answer = await http.get(f"/.well-known/oauth-protected-resource{path}")
    assert answer.status_code == 404
