"""The page that says what went wrong, and what to do about it."""

from __future__ import annotations

from mcp_edge.web.html import EMPTY, html
from mcp_edge.web.layout import Page


def page(title: str, message: str, *, reference: str = "") -> Page:
    """`message` is public text; `reference` is the id under which the log knows more."""
    told = html('<p class="quiet">Reference: <code>{reference}</code></p>', reference=reference) if reference else EMPTY
    body = html('<h1>{title}</h1>\n<p role="alert">{message}</p>\n{told}', title=title, message=message, told=told)
    return Page(title, body)
