"""When a page was shown, and whether its answer came too early to be one.

A key that is held or struck again goes to whatever window has come to the front meanwhile: what arrives within a second
of the page was meant for something else. The stylesheet keeps pointers from buttons for as long; here it holds for the
keyboard as well. The time is the server's, of the instance that made the page: one whose clock is behind shows the page
again, and it takes what that page brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_edge.auth.server.parameters import Parameters
    from mcp_edge.auth.server.server import AuthorizationServer

ARM_S = 1.0
FIELD = "shown"


def field(server: AuthorizationServer) -> tuple[str, str]:
    """The hidden field of a page that is made now, where no sealed flow tells its time. A form comes from our own pages
    alone (`Browsers.check_form`), and no key or click alters what is hidden in it."""
    return FIELD, str(server.platform.clock())


def too_early(server: AuthorizationServer, answer: Parameters) -> bool:
    """Whether this form was sent as soon as it was shown, or does not say when that was."""
    try:
        shown_at = float(answer.one(FIELD))
    except ValueError:
        return True
    return early(server, shown_at)


def early(server: AuthorizationServer, shown_at: float) -> bool:
    """Whether a page of this time has not been there for a second."""
    return not server.platform.clock() - shown_at >= ARM_S  # NaN is early, too
