"""The fetch of a client's document, and what is believed of it (draft-ietf-oauth-client-id-metadata-document-01 §4).

It knows no store: `clients.documents` decides what is kept, and for how long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from typing import Any, cast

import anyio
import httpx

from mcp_edge.auth.server.clients import metadata
from mcp_edge.auth.server.clients.metadata import ClientMetadata
from mcp_edge.auth.server.model import OAuthError
from mcp_edge.errors import EdgeError
from mcp_edge.outbound import public_http
from mcp_edge.outbound.answer_body import AnswerTooLarge

MAX_BYTES = 5 * 1024
"""What the draft recommends (§6.6)."""
TIMEOUT_S = 5.0
LEAST_FRESH_S, DEFAULT_FRESH_S, MOST_FRESH_S = 300, 3600, 86400
"""Bounds for how long a document is used without another look, and what holds where it says nothing."""
_MAX_AGE = re.compile(r"(?:^|[,\s])(s-maxage|max-age)=\"?([0-9]{1,9})")
_AGE = re.compile(r"[0-9]{1,9}")


class DocumentUnavailable(EdgeError):
    """The document's server cannot be reached, or fails: it has said neither yes nor no."""


async def fetch(
    http: Callable[[], httpx.AsyncClient], url: str, schemes: Collection[str]
) -> tuple[ClientMetadata, float]:
    """What the document at `url` says, and for how many seconds it is fresh. `http` gives `Platform.http_public`;
    `schemes` are those of `clients.metadata.read`.

    Raises:
        OAuthError: `invalid_client`: the server answered, but with no document that can be used.
        DocumentUnavailable: it did not answer.
        public_http.Busy: too many names are being looked up.
    """
    try:
        # httpx's own timeout starts anew with every read; an answer that trickles in needs this one.
        with anyio.fail_after(TIMEOUT_S):
            headers = {"accept": "application/json", "user-agent": "mcp-edge (OAuth client metadata)"}
            async with http().stream("GET", url, headers=headers, extensions={"max_bytes": MAX_BYTES}) as response:
                _check(url, response)
                body = await _body(url, response)
    except AnswerTooLarge as e:
        raise _too_large(url) from e
    except public_http.NotPublic as e:
        raise refusal(url, "The client's document is not on a public server.", str(e)) from e
    except public_http.Busy:
        raise
    except httpx.DecodingError as e:
        raise refusal(url, "The client's document is compressed.") from e
    except TimeoutError as e:
        raise DocumentUnavailable(f"no answer in {TIMEOUT_S:g} s") from e
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise DocumentUnavailable(f"{type(e).__name__}: {e}") from e
    return _claims(url, _document(url, body), schemes), _fresh_s(response.headers)


def _check(url: str, response: httpx.Response) -> None:
    """Refuse anything but a JSON document, before its body is read (§4: only 200; no redirect is followed)."""
    status = response.status_code
    if status == 429 or status >= 500:
        raise DocumentUnavailable(f"status {status}")
    if status != 200:
        raise refusal(url, f"The client's document was answered with status {status} instead of 200.")
    kind = response.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if kind != "application/json" and not re.fullmatch(r"application/[a-z0-9.!#$&^_-]+\+json", kind):
        raise refusal(url, "The client's document is not served as application/json.")


async def _body(url: str, response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_BYTES:
            raise _too_large(url)
    return bytes(body)


def _too_large(url: str) -> OAuthError:
    return refusal(url, f"The client's document is larger than {MAX_BYTES} bytes.")


def _document(url: str, body: bytes) -> dict[str, Any]:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise refusal(url, "The client's document is not JSON.") from e
    if not isinstance(document, dict):
        raise refusal(url, "The client's document is not a JSON object.")
    return cast("dict[str, Any]", document)


def _claims(client_id: str, document: dict[str, Any], schemes: Collection[str]) -> ClientMetadata:
    """What the document says of the client (§4.1).

    Raises:
        OAuthError: `invalid_client`.
    """
    if document.get("client_id") != client_id:
        raise refusal(client_id, "The client's document names another client_id than its URL.")
    if "client_secret" in document or "client_secret_expires_at" in document:
        raise refusal(client_id, "The client's document holds a secret, which is none once it is published.")
    if document.get("token_endpoint_auth_method", "none") != "none":
        raise refusal(client_id, "A client with a document is public here: token_endpoint_auth_method must be none.")
    try:
        claimed = metadata.read({**document, "token_endpoint_auth_method": "none"}, schemes)
    except OAuthError as e:
        raise refusal(client_id, f"The client's document cannot be used: {e.message}") from e
    if not claimed.name:
        raise refusal(client_id, "The client's document has no client_name.")
    return claimed


def _fresh_s(headers: httpx.Headers) -> float:
    """For how long the answer may be used without another look (RFC 9111 §4.2.1), within our bounds."""
    control = headers.get("cache-control", "").lower()
    stated = {name: int(value) for name, value in _MAX_AGE.findall(control)}
    age = headers.get("age", "")
    if "no-store" in control or "no-cache" in control:
        life = 0
    elif stated:
        life = stated.get("s-maxage", stated.get("max-age", 0)) - (int(age) if _AGE.fullmatch(age) else 0)
    else:
        life = DEFAULT_FRESH_S
    return min(max(life, LEAST_FRESH_S), MOST_FRESH_S)


def refusal(client_id: str, description: str, reason: str = "") -> OAuthError:
    """The refusal of a client for what is wrong with its document. `reason` is for the log."""
    return OAuthError("invalid_client", description, reason=f"{client_id[:200]}: {reason or description}")
