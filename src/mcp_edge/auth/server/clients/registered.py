"""Clients that registered themselves (RFC 7591). It knows no endpoint.

Anybody may register, so a registration is worth little: until its client gets tokens it is kept for a day, and only
while there is room (`clients.unused`). A client that got tokens has a record apart, which no stranger reaches. A public
client's id is a digest of its registration, so that registering twice makes one record. A confidential client gets a
new id and secret each time, because a new secret must not replace an older one.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any

from mcp_edge.auth.server.clients import metadata, redirect_uris
from mcp_edge.auth.server.clients.metadata import ClientMetadata
from mcp_edge.auth.server.clients.unused import UnusedClients
from mcp_edge.auth.server.model import CLIENT_TTL_S, REGISTERED_ID, AuthMethod, Client
from mcp_edge.platform import Platform
from mcp_edge.text.hashing import long_hash, short_hash

UNUSED_TTL_S = 86400
_FORMAT = 1


class RegisteredClients:
    """The records of clients that registered themselves."""

    def __init__(self, platform: Platform, unused: UnusedClients) -> None:
        self._platform = platform
        self._unused = unused

    async def find(self, client_id: str) -> Client | None:
        """The client, or None. Finding a client does not prolong its life: anybody can ask."""
        record = await self._get(client_id)
        return None if record is None else _client(record)

    async def used(self, client_id: str) -> None:
        """Begin the client's life anew."""
        record = await self._get(client_id)
        if record is not None:
            await self._put({**record, "renewed_at": self._platform.clock()})
            if record["renewed_at"] is None:
                await self._platform.records.delete(_new_key(client_id))

    async def add(self, document: dict[str, Any]) -> dict[str, Any]:
        """Register a client, and return the document that answers it (RFC 7591 §3.2.1).

        Raises:
            OAuthError: `invalid_redirect_uri` or `invalid_client_metadata`.
        """
        claimed = metadata.read(document, self._platform.settings.redirect_schemes)
        method = claimed.auth_method or _default_method(claimed)
        if method != "none":
            secret = f"mes_{secrets.token_hex(32)}"
            record = self._record(f"dcr_{secrets.token_hex(16)}", claimed, method, secret)
            await self._admit(record)
            # Zero: it does not expire as long as it is used.
            return {**_answer(record), "client_secret": secret, "client_secret_expires_at": 0}
        record = self._record(f"dcr_{_digest(claimed)}", claimed, method, "")
        known = await self._get(record["client_id"])
        if known is None:
            await self._admit(record)
        elif known["renewed_at"] is None and await self._unused.is_old(known.get("place")):
            await self._admit(known)  # or its place would be somebody else's soon
        elif known["renewed_at"] is None:
            await self._put(known)  # its day begins anew
        return _answer(known or record)

    def _record(self, client_id: str, claimed: ClientMetadata, method: AuthMethod, secret: str) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "client_id": client_id,
            "name": claimed.name,
            "redirect_uris": list(claimed.redirect_uris),
            "grant_types": list(claimed.grant_types),
            "auth_method": method,
            "secret_sha256": long_hash(secret) if secret else "",
            "uri": claimed.uri,
            "issued_at": int(self._platform.clock()),
            "renewed_at": None,
        }

    async def _get(self, client_id: str) -> dict[str, Any] | None:
        if not REGISTERED_ID.fullmatch(client_id):
            return None
        for key in (_key(client_id), _new_key(client_id)):
            raw = await self._platform.records.get(key)
            if raw is not None and (record := json.loads(raw))["format"] == _FORMAT:
                return record
        return None

    async def _admit(self, record: dict[str, Any]) -> None:
        """Keep a registration that got no tokens yet, in the place of the oldest ones."""
        size = len(json.dumps(record))
        await self._put({**record, "place": await self._unused.admit(_new_key(record["client_id"]), size)})

    async def _put(self, record: dict[str, Any]) -> None:
        client_id, unused = record["client_id"], record["renewed_at"] is None
        key, ttl_s = (_new_key(client_id), UNUSED_TTL_S) if unused else (_key(client_id), CLIENT_TTL_S)
        await self._platform.records.put(key, json.dumps(record).encode(), ttl_s=ttl_s)


def _default_method(claimed: ClientMetadata) -> AuthMethod:
    """RFC 7591 §2 says `client_secret_basic`, but a native app can keep no secret (RFC 8252 §8.4)."""
    native = all(redirect_uris.is_native(uri) for uri in claimed.redirect_uris)
    return "none" if native else "client_secret_basic"


def _digest(claimed: ClientMetadata) -> str:
    """The same for the same client, in whatever order it lists its redirect URIs."""
    same = replace(claimed, redirect_uris=tuple(sorted(claimed.redirect_uris)), auth_method="none")
    members = [same.name, same.redirect_uris, same.grant_types, same.uri]
    return short_hash(json.dumps(members))


def _client(record: dict[str, Any]) -> Client:
    uris: tuple[str, ...] = tuple(record["redirect_uris"])
    return Client(
        id=record["client_id"],
        name=record["name"],
        redirect_uris=uris,
        kind="dcr",
        auth_method=record["auth_method"],
        secret_hash=record["secret_sha256"],
        uri=record["uri"],
        grant_types=tuple(record["grant_types"]),
        used_at=record["renewed_at"],
    )


def _answer(record: dict[str, Any]) -> dict[str, Any]:
    answer = {
        "client_id": record["client_id"],
        "client_id_issued_at": record["issued_at"],
        "redirect_uris": record["redirect_uris"],
        "grant_types": record["grant_types"],
        "response_types": ["code"],
        "token_endpoint_auth_method": record["auth_method"],
        "client_name": record["name"],
        "client_uri": record["uri"],
    }
    return {name: value for name, value in answer.items() if value != ""}


def _key(client_id: str) -> str:
    return f"client/{short_hash(client_id)}"


def _new_key(client_id: str) -> str:
    return f"{_key(client_id)}/new"
