"""What the authorization server says of itself, wherever a client looks."""

from __future__ import annotations

import pytest
from mcp.shared.auth import OAuthMetadata

from mcp_edge.auth.server.metadata import server_metadata
from mcp_edge.protocol.urls import Urls
from mcp_edge.settings import Settings, Ways
from tests.auth.resource.test_metadata import BELOW, FORGED, HOST, declared
from tests.auth.server.handlers import client, of

pytestmark = pytest.mark.anyio

PATHS = [
    f"{before}/.well-known/{name}{after}"
    for name in ("oauth-authorization-server", "openid-configuration")
    for before, after in [("", ""), ("", "/mcp"), ("", "/sse"), ("/mcp", ""), ("/sse", "")]
]


async def get(
    path: str,
    urls: Urls = HOST,
    registration: Ways = ("cimd", "dcr"),
    headers: dict[str, str] | None = None,
) -> object:
    documents = server_metadata(urls, declared, Settings(registration=registration))
    async with client(of(documents.routes())) as http:
        answer = await http.get(path, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    OAuthMetadata.model_validate_json(answer.content)
    return answer.json()


@pytest.mark.parametrize("path", PATHS)
async def test_the_document_is_the_same_wherever_a_client_looks(path: str) -> None:
    secret = ["client_secret_basic", "client_secret_post"]
    assert await get(path) == {
        "issuer": "https://notes.example",
        "authorization_endpoint": "https://notes.example/authorize",
        "token_endpoint": "https://notes.example/token",
        "registration_endpoint": "https://notes.example/register",
        "revocation_endpoint": "https://notes.example/revoke",
        "introspection_endpoint": "https://notes.example/introspect",
        "scopes_supported": ["admin", "notes:read", "notes:write"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", *secret],
        "revocation_endpoint_auth_methods_supported": ["none", *secret],
        "introspection_endpoint_auth_methods_supported": secret,
        "client_id_metadata_document_supported": True,
        "authorization_response_iss_parameter_supported": True,
        "protected_resources": ["https://notes.example", "https://notes.example/mcp", "https://notes.example/sse"],
    }


async def test_what_is_switched_off_is_not_offered() -> None:
    told = await get("/.well-known/oauth-authorization-server", registration=())
    assert isinstance(told, dict)
    assert "registration_endpoint" not in told
    assert told["client_id_metadata_document_supported"] is False


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server/team/notes",
        "/.well-known/openid-configuration/team/notes",
        "/team/notes/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ],
)
async def test_a_public_url_with_a_path_has_its_documents_where_both_kinds_of_proxies_lead(path: str) -> None:
    told = await get(path, BELOW)
    assert isinstance(told, dict)
    assert (told["issuer"], told["token_endpoint"]) == (BELOW.issuer, "https://example.com/team/notes/token")


async def test_no_header_changes_the_document() -> None:
    path = "/.well-known/oauth-authorization-server"
    assert await get(path, headers=FORGED) == await get(path)
