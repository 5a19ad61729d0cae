"""Refuses an answer that comes within a second of its page. It knows no page's content.

A key that is held down, or struck again, goes to the window that has just come to the front, though it was meant for
another. The stylesheet keeps pointers from buttons for that second; this module does so for the keyboard. The time is
that of the instance that made the page. An instance whose clock is behind shows the page again, and takes its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_edge.auth.server.parameters import Parameters
    from mcp_edge.auth.server.server import AuthorizationServer

ARM_S = 1.0
FIELD = "shown"


def field(server: AuthorizationServer) -> tuple[str, str]:
    """The hidden field with the time of a page that is made now and has no sealed flow. The field needs no seal: forms
    come from our own pages alone (`Browsers.check_form`), and no key or click alters a hidden field."""
    return FIELD, str(server.platform.clock())


def too_early(server: AuthorizationServer, answer: Parameters) -> bool:
    """Whether the form was sent within a second of its page, or lacks the page's time."""
    try:
        shown_at = float(answer.one(FIELD))
    except ValueError:
        return True
    return early(server, shown_at)


def early(server: AuthorizationServer, shown_at: float) -> bool:
    """Whether the page was shown (epoch seconds) less than a second ago."""
    return not server.platform.clock() - shown_at >= ARM_S  # NaN is early, too
