"""Checks of the headers before a body is read: Host, Origin, content type, Accept; and the CORS headers of an answer.

A page in a browser must not reach a server through a name that it rebinds (Host), nor from an origin that nobody
admitted (Origin): MCP 2026-07-28 transports, Security Warning. A browser that sends no Origin, as for an image or a
link, says in Sec-Fetch-Site (W3C Fetch Metadata) whether the page is another site's. Other clients send neither header.
The module knows no user.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from mcp_edge.audit import decided
from mcp_edge.errors import BadRequest, Forbidden, Misdirected, NotAcceptable, UnsupportedMedia
from mcp_edge.protocol.request import Header, Request
from mcp_edge.settings import Settings
from mcp_edge.text.ascii import listed, lowered, media_type, stripped

WEB_CLIENT_ORIGINS: tuple[str, ...] = (
    "https://claude.ai",
    "https://claude.com",
    "https://chatgpt.com",
    "https://chat.openai.com",
    "https://playground.ai.cloudflare.com",
    "https://vscode.dev",
    "https://insiders.vscode.dev",
    "https://github.dev",
    "https://mcp.docs.cloudflare.com",
)
"""Origins of web clients that call MCP servers from the browser. `MCP_ALLOWED_ORIGINS` adds to them. Where there is no
credential (`auth=none`) they are not admitted."""
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
_REFUSES = re.compile(rb"q=0(\.0{0,3})?")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_KNOWN = 256
_MAX_ACCEPT_BYTES = 1024
"""The meaning of an Accept header is remembered, so its length is bounded."""
_LONG_ACCEPT = f"Accept is over {_MAX_ACCEPT_BYTES} bytes."
_MAX_ASKED_BYTES = 1024
_ONCE = frozenset(
    b"host origin authorization content-type content-length mcp-session-id mcp-protocol-version mcp-method mcp-name"
    b" last-event-id".split(b" ")
)
OWN_SITE = frozenset({b"same-origin", b"none"})
"""Values of Sec-Fetch-Site: a page of this server's, or the user, who typed the address (Fetch Metadata §2.3)."""
_EXPOSED = b"Mcp-Session-Id, WWW-Authenticate, Retry-After"
_PREFLIGHT: list[Header] = [
    (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
    (b"access-control-max-age", b"7200"),
]


class Guards:
    """Which hosts, origins and pages one server answers."""

    def __init__(self, settings: Settings) -> None:
        own = urlsplit(settings.public_url) if settings.public_url else None
        hosts = {lowered(host) for host in settings.allowed_hosts}
        self._hosts = hosts | ({lowered(own.netloc), lowered(own.hostname or "")} if own else set[str]())
        # Without credentials, every page of a web client could call: nobody has admitted those pages.
        known = WEB_CLIENT_ORIGINS if settings.auth != "none" else ()
        self._origins = {lowered(origin) for origin in (*known, *settings.allowed_origins)}
        if own:
            self._origins.add(lowered(f"{own.scheme}://{own.netloc}"))
        self._any_origin = "*" in settings.allowed_origins
        self._good_hosts: set[bytes] = set()
        self._good_origins: set[bytes] = set()

    def check(self, request: Request) -> None:
        """Admit or refuse a request by its headers, and add the CORS headers of its answer to `request.extra`.

        Raises:
            BadRequest: a header stands twice that may stand once, so two readers could read two values.
            Misdirected: the Host is none of this server's.
            Forbidden: the Origin is not admitted, or a page of another site asks without an Origin.
        """
        self.check_host(request)
        origin = request.raw.get(b"origin")
        if origin is None:
            if b"sec-fetch-site" in request.raw:
                _refuse_foreign(request)
        else:
            if origin not in self._good_origins:
                self._check_origin(request, origin)
            request.extra += [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _EXPOSED),
                (b"vary", b"Origin"),
            ]

    def check_host(self, request: Request) -> None:
        """Admit or refuse a request by its Host alone: one for a page, or for a path that is open to every origin.

        Raises:
            BadRequest, Misdirected: as `check`.
        """
        if len(request.raw) != len(request.pairs):
            _refuse_duplicates(request)
        host = request.raw.get(b"host", b"")
        if host not in self._good_hosts:
            self._check_host(request, host)

    def check_open(self, request: Request) -> None:
        """Admit or refuse a request to a path that needs no credential. A page of another site may link to the path,
        and a program of any origin may ask for it; no page of another site may embed it.

        Raises:
            Forbidden: as `check`.
        """
        raw = request.raw
        if b"sec-fetch-site" in raw and b"origin" not in raw and raw.get(b"sec-fetch-mode") != b"navigate":
            _refuse_foreign(request)

    async def preflight(self, request: Request) -> None:
        """Answer a CORS preflight; `check` has admitted its origin."""
        asked = request.raw.get(b"access-control-request-headers", b"")
        allowed = asked if 0 < len(asked) <= _MAX_ASKED_BYTES else b"*"
        await request.answer(204, headers=[*_PREFLIGHT, (b"access-control-allow-headers", allowed)])

    def _check_host(self, request: Request, host: bytes) -> None:
        parts = _AUTHORITY.fullmatch(lowered(host).decode("latin-1"))
        if parts is None or not (parts["host"] in _LOOPBACK or parts[0] in self._hosts or parts["host"] in self._hosts):
            decided(request.path, "refused", reason=f"host {host.decode('latin-1')}")
            raise Misdirected(
                "This Host is not served here: set MCP_PUBLIC_URL or MCP_ALLOWED_HOSTS if it should be.", code=-32000
            )
        _remember(self._good_hosts, host)

    def _check_origin(self, request: Request, origin: bytes) -> None:
        text = lowered(origin).decode("latin-1")
        scheme, _, authority = text.partition("://")
        parts = _AUTHORITY.fullmatch(authority)
        loopback = scheme in ("http", "https") and parts is not None and parts["host"] in _LOOPBACK
        if not (loopback or text in self._origins or (self._any_origin and parts is not None)):
            decided(request.path, "refused", reason=f"origin {origin.decode('latin-1')}")
            raise Forbidden("This Origin may not call: MCP_ALLOWED_ORIGINS admits more.", code=-32000)
        _remember(self._good_origins, origin)


def _refuse_foreign(request: Request) -> None:
    """Refuse a request that a browser makes for a page of another site."""
    if request.raw[b"sec-fetch-site"] not in OWN_SITE:
        decided(request.path, "refused", reason="a page of another site")
        raise Forbidden("Pages of other sites may not ask for this.", code=-32000)


def _remember(known: set[bytes], value: bytes) -> None:
    if len(known) >= _KNOWN:
        known.clear()
    known.add(value)


def _refuse_duplicates(request: Request) -> None:
    seen: set[bytes] = set()
    for name, _ in request.pairs:
        if name in seen and (name in _ONCE or name.startswith(b"mcp-param-")):
            modern = name.startswith(b"mcp-")
            raise BadRequest(f"The header {name.decode()} appears more than once.", code=-32020 if modern else -32600)
        seen.add(name)


@lru_cache(256)
def _is_json(content_type: bytes) -> bool:
    return media_type(content_type) == b"application/json"


@lru_cache(256)
def accepts(accept: bytes) -> tuple[bool, bool]:
    """(Whether an Accept header takes JSON, whether it takes an event stream); `q=0` refuses (RFC 9110 §12.5.1)."""
    taken: set[bytes] = set()
    for part in listed(lowered(accept)):
        kind, *options = map(stripped, part.split(b";"))
        if not any(_REFUSES.fullmatch(option) for option in options):
            taken.add(kind)
    everything = b"*/*" in taken
    return (
        everything or bool(taken & {b"application/json", b"application/*"}),
        everything or bool(taken & {b"text/event-stream", b"text/*"}),
    )


@lru_cache(256)
def prefers_stream(accept: bytes) -> bool:
    """Whether an Accept header names an event stream before JSON. Equal weights leave the choice to the server."""
    text = lowered(accept)
    return b"text/event-stream" in text.split(b"application/json", 1)[0]


def check_json(request: Request) -> None:
    """Check the content type and the content coding of a POST.

    Raises:
        UnsupportedMedia: the content is not JSON, or has a coding (RFC 9110 §8.4). Nothing is unpacked here, so no body
            is larger than it looks.
    """
    if b"content-encoding" in request.raw and lowered(request.raw[b"content-encoding"]) != b"identity":
        raise UnsupportedMedia("The body must be sent without a content coding.", code=-32000)
    if not _is_json(request.raw.get(b"content-type", b"")[:_MAX_ACCEPT_BYTES]):
        raise UnsupportedMedia("The content type must be application/json.", code=-32000)


def check_post(request: Request) -> None:
    """Check the media types of a POST (MCP transports, Sending Messages).

    Raises:
        UnsupportedMedia: as `check_json`.
        NotAcceptable: Accept does not take both JSON and an event stream.
    """
    check_json(request)
    accept = request.raw.get(b"accept", b"*/*")
    if len(accept) > _MAX_ACCEPT_BYTES:
        raise NotAcceptable(_LONG_ACCEPT, code=-32000)
    if accepts(accept) != (True, True):
        raise NotAcceptable("Accept must take application/json and text/event-stream.", code=-32000)


def check_get(request: Request) -> None:
    """Check that a GET takes an event stream.

    Raises:
        NotAcceptable: Accept does not take one.
    """
    accept = request.raw.get(b"accept", b"*/*")
    if len(accept) > _MAX_ACCEPT_BYTES:
        raise NotAcceptable(_LONG_ACCEPT, code=-32000)
    if not accepts(accept)[1]:
        raise NotAcceptable("Accept must take text/event-stream.", code=-32000)
