"""The error of a JavaScript call, for adapters whose engine is a binding of the Worker. It calls nothing.

Elsewhere than on Pyodide there is no such error: objects of a binding's shape raise this one themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:

    class JsException(Exception):
        """What JavaScript threw; its text is `Name: message`."""

else:
    try:
        from pyodide.ffi import JsException
    except ImportError:

        class JsException(Exception):
            """What JavaScript threw; its text is `Name: message`."""


__all__ = ["JsException"]
