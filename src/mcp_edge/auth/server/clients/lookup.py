"""Clients, however they became known: settings, a document of their own, or registration (RFC 7591). It knows no
grant."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from mcp_edge.auth.server.attempts import Attempts
from mcp_edge.auth.server.clients import metadata
from mcp_edge.auth.server.clients.documents import ClientDocuments
from mcp_edge.auth.server.clients.registered import RegisteredClients
from mcp_edge.auth.server.clients.unused import UnusedClients
from mcp_edge.auth.server.model import CLIENT_TTL_S, DOCUMENT_SCHEME, Client, OAuthError
from mcp_edge.errors import ConfigurationError, NotFound
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.settings import Settings
from mcp_edge.text.option_values import OF_NOTHING, is_scope_list

_STATIC_ID = re.compile(r"[!-~]{1,1000}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Clients:
    """Finds a client by its id, in the settings, by its document, or by its registration."""

    def __init__(self, platform: Platform, attempts: Attempts) -> None:
        """`attempts` counts who brings new clients.

        Raises:
            ConfigurationError: a client of the settings cannot be used.
        """
        ways = platform.settings.registration
        self._clock = platform.clock
        self._static = static_clients(platform.settings)
        unused = UnusedClients(platform)
        self._documents = ClientDocuments(platform, attempts, unused) if "cimd" in ways else None
        self._registered = RegisteredClients(platform, unused) if "dcr" in ways else None

    async def find(self, client_id: str) -> Client | None:
        """The client as it is stored here, or None. Nothing is fetched, so that a client with a grant does not depend
        on the server of its document."""
        if client_id in self._static:
            return self._static[client_id]
        if client_id.startswith(DOCUMENT_SCHEME):
            return await self._documents.find(client_id) if self._documents else None
        return await self._registered.find(client_id) if self._registered else None

    async def find_or_fetch(self, client_id: str, request: Request) -> Client | None:
        """The client as it is now, or None: a document that is not known, or no longer fresh, is fetched.

        Raises:
            OAuthError: `invalid_client`: its document cannot be had, or says what is not allowed.
            TooMany: the request's address brought too many new clients, or too many documents are fetched right now.
        """
        if client_id in self._static or self._documents is None or not client_id.startswith(DOCUMENT_SCHEME):
            return await self.find(client_id)
        return await self._documents.find_or_fetch(client_id, request)

    async def used(self, client: Client) -> None:
        """Prolong the life of a client that has just got tokens."""
        if client.used_at is not None and self._clock() - client.used_at < CLIENT_TTL_S / 2:
            return
        if client.kind == "cimd" and self._documents:
            await self._documents.used(client.id)
        elif client.kind == "dcr" and self._registered:
            await self._registered.used(client.id)

    async def register(self, document: dict[str, Any]) -> dict[str, Any]:
        """Register a client, and return the document that answers it (RFC 7591 §3.2.1).

        Raises:
            OAuthError: `invalid_redirect_uri` or `invalid_client_metadata`.
            NotFound: clients do not register here.
        """
        if self._registered is None:
            raise NotFound("Clients do not register here.")
        return await self._registered.add(document)


def static_clients(settings: Settings) -> dict[str, Client]:
    """The clients of the settings, by id.

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    found: dict[str, Client] = {}
    for n, document in enumerate(settings.clients, 1):
        try:
            client = _static(document, settings.redirect_schemes)
        except OAuthError as e:
            raise ConfigurationError(f"MCP_CLIENTS: client {n}: {e.message}") from None
        if client.id in found:
            raise ConfigurationError(f"MCP_CLIENTS: client {n}: there is another one of the same client_id.")
        found[client.id] = client
    return found


def _static(document: dict[str, Any], schemes: Collection[str]) -> Client:
    client_id, digest = document.get("client_id"), document.get("client_secret_sha256", "")
    if not isinstance(client_id, str) or not _STATIC_ID.fullmatch(client_id):
        raise OAuthError("", "client_id is text of printable ASCII characters.")
    if "client_secret" in document:
        raise OAuthError("", "client_secret_sha256 takes the place of client_secret: the SHA-256 of it in hex.")
    if digest != "" and not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise OAuthError("", "client_secret_sha256 is a SHA-256 in hex.")
    if digest in OF_NOTHING:
        raise OAuthError("", "client_secret_sha256 is the SHA-256 of an empty text.")
    scope = document.get("scope")
    if scope is not None and not (isinstance(scope, str) and is_scope_list(scope)):
        raise OAuthError("", "scope is text: scopes with one space between them.")
    claimed = metadata.read(document, schemes)
    method = claimed.auth_method or ("client_secret_basic" if digest else "none")
    if (method == "none") != (digest == ""):
        raise OAuthError("", f"token_endpoint_auth_method {method} and client_secret_sha256 do not fit together.")
    scopes = None if scope is None else frozenset(scope.split(" "))
    return Client(
        client_id,
        claimed.name or client_id,
        claimed.redirect_uris,
        "static",
        method,
        digest,
        claimed.uri,
        claimed.grant_types,
        scopes,
    )
