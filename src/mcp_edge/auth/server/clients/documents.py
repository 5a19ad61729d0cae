"""Clients whose id is the URL of a document that they publish (draft-ietf-oauth-client-id-metadata-document-01, MCP
2026-07-28 authorization, Client Registration).

A stranger chooses the URL, so fetches are counted: of one that is not known for the address that asks for it, of one
that is known for itself, so that nobody's requests keep it from being fetched. Places to fetch are counted as well, for
the network that asks, and half of them are for clients that were fetched before. Only good documents are kept, never a
failure (§4.4), and of those only what is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

import httpx

from mcp_edge.auth.server.attempts import Attempts
from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.clients.document_fetch import LEAST_FRESH_S, DocumentUnavailable, fetch, refusal
from mcp_edge.auth.server.clients.metadata import ClientMetadata
from mcp_edge.auth.server.clients.unused import UnusedClients
from mcp_edge.auth.server.model import CLIENT_TTL_S, Client, OAuthError
from mcp_edge.errors import TooMany
from mcp_edge.outbound import public_http
from mcp_edge.outbound.lookups import ASKER, Asker, Busy
from mcp_edge.platform import Platform
from mcp_edge.protocol import networks
from mcp_edge.protocol.request import Request
from mcp_edge.text.hashing import short_hash

MAX_URL_CHARS = 1000
MOST_FETCHES = 16
"""Documents of new clients that one process fetches at the same time; as many more of clients that it knows."""
MOST_OF_A_NETWORK = 2
"""Of those, for one network, whatever clients it asks for."""
STALE_S = 7 * 86400
"""Seconds since its fetch for which a document counts while its server does not answer."""
NEW_TTL_S = LEAST_FRESH_S + 2100
"""Seconds that a document lives whose client got no tokens yet. After an /authorize for which the document is fresh,
the user has ten minutes to decide and ten to sign in, and the client has ten to redeem the code; instances' clocks
differ."""
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class _Kept:
    """A document as it is stored. Times are epoch seconds."""

    claimed: ClientMetadata
    fetched_at: float
    fresh_until: float
    used_at: float | None = None
    """When its client got tokens; None for never."""
    place: int | None = None
    """Among the clients that got none (`UnusedClients`)."""


class ClientDocuments:
    """Clients that are known by a document of their own: fetched within limits, kept while they are fresh or in use."""

    def __init__(self, platform: Platform, attempts: Attempts, unused: UnusedClients) -> None:
        self._platform = platform
        self._attempts = attempts
        self._places = _Places()
        self._unused = unused
        public_url = platform.settings.public_url
        self._own_host = urlsplit(public_url).hostname if public_url else None

    async def find(self, client_id: str) -> Client | None:
        """The client as its stored document says, fresh or not; None where no document is stored."""
        kept = await self._kept(client_id)
        return None if kept is None else _client(client_id, kept)

    async def find_or_fetch(self, client_id: str, request: Request) -> Client:
        """The client as its document is now.

        Raises:
            OAuthError: `invalid_client`: the id is no such URL, or its document cannot be had or used.
            TooMany: the request's address brought too many new clients, or too many documents are fetched right now.
        """
        if fault := self._fault(client_id):
            raise refusal(client_id, fault)
        kept = await self._kept(client_id)
        if kept is None:
            await self._attempts.check(request, "new-client")
            try:
                kept = await self._fetched(client_id, None, request)
            except DocumentUnavailable as e:
                raise _unanswered(client_id, e) from e
        elif kept.fresh_until <= self._platform.clock():
            kept = await self._renewed(client_id, kept, request)
        return _client(client_id, kept)

    async def used(self, client_id: str) -> None:
        """Keep the document for as long as its client is in use."""
        kept = await self._kept(client_id)
        if kept is not None:
            await self._put(client_id, replace(kept, used_at=self._platform.clock()))

    def _fault(self, client_id: str) -> str:
        """Why the id is no URL of a client's document (§3); empty when it is."""
        if len(client_id) > MAX_URL_CHARS:
            return f"A client id has at most {MAX_URL_CHARS} characters."
        if redirect_uris.fault(client_id):
            return (
                "A client id that is a URL has no user information, fragment or wildcard, and a host that can be read."
            )
        parts = urlsplit(client_id)
        if not parts.path:
            return "A client id that is a URL has a path."
        if any(unquote(segment) in (".", "..") for segment in parts.path.split("/")):
            return "A client id that is a URL has no dot segments in its path."
        if "client_id" in unquote(parts.query).lower():
            return "A client id that is a URL names no other client id."  # servers would ask each other in a chain
        if parts.hostname == self._own_host:
            return "A client id is not a URL of this server."  # one fetch would cause another
        try:
            public_http.check(httpx.URL(client_id))
        except (public_http.NotPublic, httpx.InvalidURL):
            return "A client id that is a URL names a public server by its domain name, at port 443."
        return ""

    async def _kept(self, client_id: str) -> _Kept | None:
        for key in (_key(client_id), _new_key(client_id)):
            raw = await self._platform.records.get(key)
            if raw is not None and (record := json.loads(raw))["format"] == _FORMAT:
                uris, kinds = tuple(record["redirect_uris"]), tuple(record["grant_types"])
                claimed = ClientMetadata(record["name"], uris, kinds, "none", record["uri"])
                return _Kept(
                    claimed, record["fetched_at"], record["fresh_until"], record["used_at"], record.get("place")
                )
        return None

    async def _put(self, client_id: str, kept: _Kept) -> None:
        """Store the document. A new client's document has a key of its own, so that a fetch cannot overwrite the
        document of a client that has just got its first tokens."""
        record = {
            "format": _FORMAT,
            "name": kept.claimed.name,
            "redirect_uris": list(kept.claimed.redirect_uris),
            "grant_types": list(kept.claimed.grant_types),
            "uri": kept.claimed.uri,
            "fetched_at": kept.fetched_at,
            "fresh_until": kept.fresh_until,
            "used_at": kept.used_at,
            "place": kept.place,
        }
        key, ttl_s = (_new_key(client_id), NEW_TTL_S) if kept.used_at is None else (_key(client_id), CLIENT_TTL_S)
        if kept.used_at is None and (kept.place is None or await self._unused.is_old(kept.place)):
            record["place"] = await self._unused.admit(key, len(json.dumps(record)))
        await self._platform.records.put(key, json.dumps(record).encode(), ttl_s=ttl_s)

    async def _renewed(self, client_id: str, kept: _Kept, request: Request) -> _Kept:
        """The document as it is now; or `kept`, while the document's server does not answer."""
        try:
            await self._attempts.count("client-renewal", client_id)
            return await self._fetched(client_id, kept, request)
        except (DocumentUnavailable, TooMany) as e:
            if self._platform.clock() - kept.fetched_at < STALE_S:
                return kept
            if isinstance(e, TooMany):
                raise
            raise _unanswered(client_id, e) from e
        except OAuthError:
            # Taken down: good for no new grant. Those that there are end when their users say so.
            if kept.used_at is None:
                await self._platform.records.delete(_new_key(client_id))
            elif kept.fetched_at:
                await self._put(client_id, replace(kept, fetched_at=0, fresh_until=0))
            raise

    async def _fetched(self, client_id: str, kept: _Kept | None, request: Request) -> _Kept:
        """The document as it is now, kept in the place of `kept`.

        Raises:
            OAuthError: the server answered, but with no document that can be used.
            DocumentUnavailable: it did not answer.
            TooMany: too many documents are fetched right now.
        """
        asker = Asker(networks.whose(self._attempts.address(request)), known=kept is not None)
        with self._places.one(asker):
            try:
                schemes = self._platform.settings.redirect_schemes
                claimed, fresh_s = await fetch(self._platform.http_public, client_id, schemes)
            except Busy as e:
                raise _busy() from e
        now, used_at = self._platform.clock(), kept.used_at if kept is not None else None
        # A new one is looked at soon again, so that its short life reaches from any /authorize to its end.
        fresh_until = now + (LEAST_FRESH_S if used_at is None else fresh_s)
        fetched = _Kept(claimed, now, fresh_until, used_at, None if kept is None else kept.place)
        await self._put(client_id, fetched)
        return fetched


class _Places:
    """Counts the documents that this process fetches right now, so that a place is left for clients it knows."""

    def __init__(self) -> None:
        self._all = self._new = 0
        self._networks: Counter[str] = Counter()

    @contextmanager
    def one(self, asker: Asker) -> Generator[None]:
        """Take a place for one fetch, and name the asker for whom its names are looked up.

        Raises:
            TooMany: every place is taken.
        """
        new = not asker.known
        if self._new >= MOST_FETCHES if new else self._all >= 2 * MOST_FETCHES:
            raise _busy()
        if self._networks[asker.network] >= MOST_OF_A_NETWORK:
            raise _busy()
        self._all, self._new = self._all + 1, self._new + new
        self._networks[asker.network] += 1
        token = ASKER.set(asker)
        try:
            yield
        finally:
            ASKER.reset(token)
            self._all, self._new = self._all - 1, self._new - new
            self._networks[asker.network] -= 1
            self._networks = +self._networks  # forgets who has none


def _client(client_id: str, kept: _Kept) -> Client:
    claimed = kept.claimed
    return Client(
        client_id,
        claimed.name,
        claimed.redirect_uris,
        "cimd",
        "none",
        uri=claimed.uri,
        grant_types=claimed.grant_types,
        used_at=kept.used_at,
    )


def _key(client_id: str) -> str:
    return f"client/{short_hash(client_id)}"


def _new_key(client_id: str) -> str:
    return f"{_key(client_id)}/new"


def _busy() -> TooMany:
    message = "Too many apps are being looked up at once; try again in a few seconds."
    return TooMany(message, headers={"retry-after": "5"})


def _unanswered(client_id: str, reason: DocumentUnavailable) -> OAuthError:
    return refusal(client_id, "The client's document cannot be fetched.", str(reason))
