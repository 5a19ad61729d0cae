"""What every page has around its content, and the headers that go with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from mcp_edge.pages.html import EMPTY, Html, html

_SOURCE = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")

_HEADERS: list[tuple[bytes, bytes]] = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # A page of no referrer at all would post its forms with `Origin: null` (Fetch, §3.2); this one tells others nothing
    # either, and our own server where the form was.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_ALONE = (b"cross-origin-opener-policy", b"same-origin")
_HSTS = (b"strict-transport-security", b"max-age=31536000")


@dataclass(frozen=True, slots=True)
class Page:
    """A page's title and the content of its `main`."""

    title: str
    body: Html


def status(text: str) -> Html:
    """A note that says what has just happened; nothing where there is nothing to say."""
    return html('<p class="note" role="status">{text}</p>\n', text=text) if text else EMPTY


def document(page: Page, base: str) -> bytes:
    """The whole document. `base` is the path under which the server lives, empty for a host of its own."""
    return html(
        "<!doctype html>\n"
        '<html lang="en">\n'
        "<head>\n"
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="robots" content="noindex">\n'
        "<title>{title}</title>\n"
        '<link rel="stylesheet" href="{base}/style.css">\n'
        "</head>\n"
        "<body>\n"
        "<main>\n{body}\n</main>\n"
        "</body>\n"
        "</html>\n",
        title=page.title,
        base=base,
        body=page.body,
    ).encode()


def headers(*, secure: bool, form_targets: Sequence[str] = (), keeps_opener: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers of a page.

    `secure` says that the server is reached over TLS alone. `form_targets` are sources (CSP3 §2.3.1) that a form's POST
    may lead to by redirects, to which Chrome applies `form-action` as well. A page on the way back to a web client
    `keeps_opener`: many open it as a pop-up whose last page, theirs again, calls its opener.
    """
    targets = " ".join(("'self'", *dict.fromkeys(form_targets)))
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'none'; "
        f"form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
    )
    fields = [(b"content-security-policy", policy.encode("ascii")), *_HEADERS]
    return [*fields, *([] if keeps_opener else [_ALONE]), *([_HSTS] if secure else [])]


def source(url: str) -> str:
    """The CSP source of a URL: its exact origin, or its scheme where CSP cannot name the host (IPv6)."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if _SOURCE.fullmatch(origin):
        return origin
    scheme = parts.scheme.lower()
    return f"{scheme}:" if _SCHEME.fullmatch(scheme) else "'self'"
