"""Clients whose id is the URL of a document that they publish (draft-ietf-oauth-client-id-metadata-document-01, MCP
2026-07-28 authorization, Client Registration).

A stranger chooses the URL, so it is fetched only with `Platform.http_public`. Only good documents are kept, never a
failure (§4.4); what limits fetches instead is a count for each host.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import anyio
import httpx

from mcp_edge import public_http
from mcp_edge.errors import TooMany
from mcp_edge.oauth import client_metadata, redirects
from mcp_edge.oauth.limits import Limits
from mcp_edge.oauth.model import Client, OAuthError
from mcp_edge.platform import Platform
from mcp_edge.tokens import short_hash

SCHEME = "https://"
MAX_URL_CHARS = 1000
MAX_BYTES = 5 * 1024
"""What the draft recommends (§6.6)."""
TIMEOUT_S = 5.0
LEAST_FRESH_S, DEFAULT_FRESH_S, MOST_FRESH_S = 300, 3600, 86400
"""Bounds for how long a document is used without another look, and what holds where it says nothing."""
KEPT_S = 86400
"""Since it was fetched: so long a document is used while its server does not answer at all."""
_FORMAT = 1
_MAX_AGE = re.compile(r"(?:^|[,\s])(s-maxage|max-age)=\"?(\d{1,9})")


class Unanswered(Exception):
    """The document's server said neither yes nor no."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A document in the store. Times are epoch seconds."""

    document: dict[str, Any]
    fetched_at: float
    fresh_until: float


class ClientDocuments:
    """See the module."""

    def __init__(self, platform: Platform, limits: Limits) -> None:
        self._platform = platform
        self._limits = limits
        public_url = platform.settings.public_url
        self._own_host = urlsplit(public_url).hostname if public_url else None

    async def find(self, client_id: str) -> Client:
        """The client.

        Raises:
            OAuthError: `invalid_client`: the id is no such URL, or its document cannot be had or used.
            TooMany: documents of this host were fetched too often within the last minute.
        """
        if fault := self._fault(client_id):
            raise _refusal(client_id, fault)
        kept, now = await self._kept(client_id), self._platform.clock()
        if kept is None or kept.fresh_until <= now:
            kept = await self._renewed(client_id, kept)
        return _client(client_id, kept.document)

    def _fault(self, client_id: str) -> str:
        """Why the id is no URL of a client's document (§3); empty when it is."""
        if len(client_id) > MAX_URL_CHARS:
            return f"A client id has at most {MAX_URL_CHARS} characters."
        if redirects.fault(client_id):
            return (
                "A client id that is a URL has no user information, fragment or wildcard, and a host that can be read."
            )
        parts = urlsplit(client_id)
        if not parts.path:
            return "A client id that is a URL has a path."
        if any(unquote(segment) in (".", "..") for segment in parts.path.split("/")):
            return "A client id that is a URL has no dot segments in its path."
        if parts.hostname == self._own_host:
            return "A client id is not a URL of this server."  # one fetch would cause another
        try:
            public_http.check(httpx.URL(client_id))
        except (public_http.NotPublic, httpx.InvalidURL):
            return "A client id that is a URL names a public server by its domain name, at port 443."
        return ""

    async def _kept(self, client_id: str) -> _Kept | None:
        raw = await self._platform.records.get(_key(client_id))
        if raw is None:
            return None
        record = json.loads(raw)
        if record["format"] != _FORMAT:
            return None
        return _Kept(record["document"], record["fetched_at"], record["fresh_until"])

    async def _renewed(self, client_id: str, kept: _Kept | None) -> _Kept:
        """The document as it is now; or `kept`, while its server does not answer."""
        now = self._platform.clock()
        try:
            await self._limits.count("client-document", urlsplit(client_id).hostname or "")
            document, fresh_s = await self._fetch(client_id)
        except (Unanswered, TooMany) as e:
            if kept is not None and now - kept.fetched_at < KEPT_S:
                return kept
            if isinstance(e, TooMany):
                raise
            raise _refusal(client_id, "The client's document cannot be fetched.", str(e)) from e
        except OAuthError:
            if kept is not None:
                await self._platform.records.delete(_key(client_id))
            raise
        renewed = _Kept(document, now, now + fresh_s)
        record = {"format": _FORMAT, "document": document, "fetched_at": now, "fresh_until": renewed.fresh_until}
        await self._platform.records.put(_key(client_id), json.dumps(record).encode(), ttl_s=KEPT_S)
        return renewed

    async def _fetch(self, url: str) -> tuple[dict[str, Any], float]:
        """The document, and for how many seconds it is fresh.

        Raises:
            OAuthError: the server answered, but with no document that can be used.
            Unanswered: it did not answer.
        """
        try:
            # httpx's own timeout starts anew with every read; an answer that trickles in needs this one.
            with anyio.fail_after(TIMEOUT_S):
                headers = {"accept": "application/json", "user-agent": "mcp-edge (OAuth client metadata)"}
                async with self._platform.http_public().stream("GET", url, headers=headers) as response:
                    _check(url, response)
                    body = await _body(url, response)
        except public_http.NotPublic as e:
            raise _refusal(url, "The client's document is not on a public server.", str(e)) from e
        except httpx.DecodingError as e:
            raise _refusal(url, "The client's document is compressed.") from e
        except TimeoutError as e:
            raise Unanswered(f"no answer in {TIMEOUT_S:g} s") from e
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise Unanswered(f"{type(e).__name__}: {e}") from e
        document = _document(url, body)
        _client(url, document)  # what cannot be used is not kept (§4.4)
        return document, _fresh_s(response.headers)


def _check(url: str, response: httpx.Response) -> None:
    """Refuse anything but a JSON document, before its body is read (§4: only 200; no redirect is followed)."""
    status = response.status_code
    if status == 429 or status >= 500:
        raise Unanswered(f"status {status}")
    if status != 200:
        raise _refusal(url, f"The client's document was answered with status {status} instead of 200.")
    kind = response.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if kind != "application/json" and not re.fullmatch(r"application/[a-z0-9.!#$&^_-]+\+json", kind):
        raise _refusal(url, "The client's document is not served as application/json.")


async def _body(url: str, response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_BYTES:
            raise _refusal(url, f"The client's document is larger than {MAX_BYTES} bytes.")
    return bytes(body)


def _document(url: str, body: bytes) -> dict[str, Any]:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise _refusal(url, "The client's document is not JSON.") from e
    if not isinstance(document, dict):
        raise _refusal(url, "The client's document is not a JSON object.")
    return cast("dict[str, Any]", document)


def _client(client_id: str, document: dict[str, Any]) -> Client:
    """The client that the document describes (§4.1).

    Raises:
        OAuthError: `invalid_client`.
    """
    if document.get("client_id") != client_id:
        raise _refusal(client_id, "The client's document names another client_id than its URL.")
    if "client_secret" in document or "client_secret_expires_at" in document:
        raise _refusal(client_id, "The client's document holds a secret, which is none once it is published.")
    if document.get("token_endpoint_auth_method", "none") != "none":
        raise _refusal(client_id, "A client with a document is public here: token_endpoint_auth_method must be none.")
    try:
        told = client_metadata.read({**document, "token_endpoint_auth_method": "none"})
    except OAuthError as e:
        raise _refusal(client_id, f"The client's document cannot be used: {e.description}") from e
    if not told.name:
        raise _refusal(client_id, "The client's document has no client_name.")
    return Client(
        client_id, told.name, told.redirect_uris, "cimd", "none", uri=told.uri, grant_types=told.grant_types
    )  # fmt: skip


def _fresh_s(headers: httpx.Headers) -> float:
    """For how long the answer may be used without another look (RFC 9111 §4.2.1), within our bounds."""
    control = headers.get("cache-control", "").lower()
    stated = {name: int(value) for name, value in _MAX_AGE.findall(control)}
    age = headers.get("age", "")
    if "no-store" in control or "no-cache" in control:
        life = 0
    elif stated:
        life = stated.get("s-maxage", stated.get("max-age", 0)) - (int(age) if age.isdecimal() else 0)
    else:
        life = DEFAULT_FRESH_S
    return min(max(life, LEAST_FRESH_S), MOST_FRESH_S)


def _key(client_id: str) -> str:
    return f"client/{short_hash(client_id)}"


def _refusal(client_id: str, description: str, reason: str = "") -> OAuthError:
    return OAuthError("invalid_client", description, reason=f"{client_id[:200]}: {reason or description}")
