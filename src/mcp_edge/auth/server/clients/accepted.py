"""Which clients' tokens and grants still count, by what the settings say: no store is asked.

It is asked of every access token, so it does not know the clients that are stored: one whose record is gone gets no new
token, and keeps the access tokens that it has.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import Client, kind_by_form
from mcp_edge.settings import Settings


class AcceptedClients:
    """The clients of the settings, and the kinds that are switched on."""

    def __init__(self, settings: Settings, static: Mapping[str, Client]) -> None:
        """`static` are the clients of the settings, by id."""
        self._ways = settings.registration
        self._schemes = settings.redirect_schemes
        self._static = static

    def refusal(self, client_id: str, kind: str, redirect_uri: str) -> str:
        """Why nothing counts any more that this client was granted; empty while it does.

        `kind` is `Client.recorded_kind` at the grant, `redirect_uri` where its code went (empty: not recorded). The two
        keep apart what bears one id: an app that got the id of another one has neither its redirect URIs, nor, where
        the id has the form of other clients', its kind.
        """
        static = self._static.get(client_id)
        if static is not None:
            if redirect_uri and not redirect_uris.allowed(redirect_uri, static.redirect_uris, self._schemes):
                return "its client has that redirect URI no longer in MCP_CLIENTS"
            return ""
        known_as = kind or kind_by_form(client_id)
        if known_as == "static":
            return "its client is not in MCP_CLIENTS any more"
        if known_as not in self._ways:
            return f"its client became known by {known_as}, which MCP_REGISTRATION lacks now"
        if redirect_uri and redirect_uris.fault(redirect_uri, self._schemes):
            return "MCP_REDIRECT_SCHEMES lacks the scheme of its redirect URI now"
        return ""
