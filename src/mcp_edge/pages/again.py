"""The first button of a form that grants or revokes: Enter presses it, and it only shows the page again. Pure."""

from __future__ import annotations

from typing import Literal

from mcp_edge.pages.html import Html, html

AGAIN = "again"
"""The value of a button that has the page shown again, and nothing else."""
NOTHING_YET = "Nothing has been decided yet. Look at this page, then press one of its buttons."
"""The notice above a page that is shown again."""


def first(name: Literal["choice", "do"]) -> Html:
    """The first button of a form, seen by nobody.

    Enter in a field presses the first button that is not disabled (HTML, Implicit submission). It is out of sight by
    the stylesheet rather than `hidden`: WebKit passes over a button that is not rendered.
    """
    return html(
        '<button class="again" name="{name}" value="{again}" tabindex="-1" aria-hidden="true"></button>\n',
        name=name,
        again=AGAIN,
    )
