"""An app's name and link on our pages, as far as the redirect URI of the request at hand bears them out. Pure.

Anybody may register a client, and with it somebody else's address beside their own. Of all that a client says of
itself, only the redirect URI of this request is certain: the user is led there.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import Client
from mcp_edge.pages.html import plain

_OUR_WORDS = ("an app at ", "an unnamed app")
"""How the names begin that we give. A client that calls itself so counts as unnamed."""


def called(client: Client, redirect_uri: str) -> str:
    """The client's own name; else one after the site to which this answer goes; empty where it goes to no site."""
    seen = plain(client.name).casefold()
    if client.kind == "static" or (seen and not seen.startswith(_OUR_WORDS)):
        return client.name
    return f"An app at {redirect_uris.place(redirect_uri)}" if redirect_uris.is_web(redirect_uri) else ""


def home(client: Client, redirect_uri: str) -> str:
    """The client's page, if it is on the site to which this answer goes, or on that of the client's document; a name
    must not lead to somebody else's (RFC 7591 §5)."""
    if client.kind == "static":
        return client.uri
    named = (redirect_uri, *([client.id] if client.kind == "cimd" else []))
    own = {urlsplit(uri).hostname for uri in named if redirect_uris.is_web(uri)}
    return client.uri if urlsplit(client.uri).hostname in own else ""
