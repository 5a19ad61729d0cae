"""The page that says what went wrong, and what to do about it."""

from __future__ import annotations

from mcp_edge.pages.html import EMPTY, html, plain
from mcp_edge.pages.layout import Page

_MOST_CHARS = 500
"""Of a message: more than any of ours has, and no more than a page can hold of what it repeats."""


def page(title: str, message: str, *, reference: str = "") -> Page:
    """`message` is public text; `reference` is the id under which the log knows more."""
    trace = (
        html('<p class="quiet">Reference: <code>{reference}</code></p>', reference=reference) if reference else EMPTY
    )
    body = html(
        '<h1>{title}</h1>\n<p role="alert">{message}</p>\n{trace}',
        title=title,
        message=plain(message, _MOST_CHARS),
        trace=trace,
    )
    return Page(title, body)


def way_back(message: str, *, url: str, host: str) -> Page:
    """Where a client's error leads to is the user's to decide, who has not let the client in yet.

    `url` is one that the client has registered; a native app's has a scheme of its own.
    """
    body = html(
        "<h1>The app sent a request that cannot be granted</h1>\n"
        '<p role="alert">{message}</p>\n'
        '<p>You have not let in an app at <span class="host">{host}</span> before. Return to it only if you know it; '
        "otherwise close this page.</p>\n<p>{back}</p>\n",
        message=plain(message, _MOST_CHARS),
        host=host,
        back=html('<a href="{url}" rel="noopener noreferrer nofollow">Return to {host}</a>', url=url, host=host),
    )
    return Page("That did not work", body)
