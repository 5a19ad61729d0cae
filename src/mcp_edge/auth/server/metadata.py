"""What the authorization server says of itself (RFC 8414), wherever a client may look for it.

The issuer is the same in each: a client that a resource's metadata has sent here compares it (RFC 8414 §3.3). Clients
that know no such metadata look below the path of the endpoint, and some look where OpenID Connect Discovery has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mcp_edge.auth.resource.metadata import Document, MetadataDocuments, well_known_paths
from mcp_edge.auth.scopes import Scopes
from mcp_edge.protocol.urls import ENDPOINTS, Urls
from mcp_edge.settings import Settings

_NAMES = ("oauth-authorization-server", "openid-configuration")
_SECRET = ["client_secret_basic", "client_secret_post"]


def server_metadata(urls: Urls, scopes: Callable[[], Awaitable[Scopes]], settings: Settings) -> MetadataDocuments:
    """The authorization server's documents."""
    paths = [path for name in _NAMES for path in (*well_known_paths(urls, name), *_below(urls, name))]
    return MetadataDocuments(paths, scopes, lambda _, declared: document(urls, declared, settings))


def document(urls: Urls, scopes: Scopes, settings: Settings) -> Document:
    """RFC 8414 §2, with what RFC 9207, RFC 9728 and the draft of client id metadata documents add."""
    found: Document = {
        "issuer": urls.issuer,
        "authorization_endpoint": urls.at("/authorize"),
        "token_endpoint": urls.at("/token"),
        "revocation_endpoint": urls.at("/revoke"),
        "introspection_endpoint": urls.at("/introspect"),
        "scopes_supported": sorted(scopes.by_name),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", *_SECRET],
        "revocation_endpoint_auth_methods_supported": ["none", *_SECRET],
        "introspection_endpoint_auth_methods_supported": _SECRET,
        "client_id_metadata_document_supported": "cimd" in settings.registration,
        "authorization_response_iss_parameter_supported": True,
        "protected_resources": list(urls.resources),
    }
    if "dcr" in settings.registration:
        found["registration_endpoint"] = urls.at("/register")
    return found


def _below(urls: Urls, name: str) -> list[str]:
    """The paths where the well-known part follows the issuer (OpenID Connect Discovery §4)."""
    bases = dict.fromkeys(("", urls.base_path))
    return [f"{base}{endpoint}/.well-known/{name}" for base in bases for endpoint in ("", *ENDPOINTS)]
