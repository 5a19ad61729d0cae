"""Whether the settings still accept a client. It knows no store.

The question is asked for every access token, so it must cost no read. A client whose stored record is gone therefore
keeps its access tokens until they expire, and gets no new ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import Client, kind_by_form
from mcp_edge.settings import Settings


class AcceptedClients:
    """Which clients the settings accept: those they list, and the kinds that they switch on."""

    def __init__(self, settings: Settings, static: Mapping[str, Client]) -> None:
        """`static` are the clients of the settings, by id."""
        self._ways = settings.registration
        self._schemes = settings.redirect_schemes
        self._static = static

    def refusal(self, client_id: str, kind: str, redirect_uri: str) -> str:
        """Why this client's tokens and grants do not count any more; empty while they do.

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
