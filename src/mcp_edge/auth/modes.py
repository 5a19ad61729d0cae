"""How callers are authorized, one mode for each value of `MCP_AUTH`. It knows no token and no page.

Only the modules of the mode that the settings name are imported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcp_edge.auth.authenticator import Authenticator, BearerKeys, Nobody
from mcp_edge.auth.scopes import Scopes
from mcp_edge.errors import ConfigurationError
from mcp_edge.platform import Accounts, Platform
from mcp_edge.protocol.routing import Route
from mcp_edge.settings import Settings


@dataclass(frozen=True, slots=True)
class AuthMode:
    """What one mode contributes to an app: an authenticator, the paths of its own, users' accounts at the upstream."""

    authenticator: Authenticator
    routes: tuple[Route, ...] = ()
    """The paths of the mode's own."""
    accounts: Accounts | None = None
    """Users' own accounts at the upstream."""


def choose_mode(platform: Platform, scopes: Callable[[], Awaitable[Scopes]]) -> AuthMode:
    """The mode of one app, as its settings name it. `scopes` starts the server, which declares the scopes.

    Raises:
        ConfigurationError: a setting that the mode needs is missing, or contradicts another.
    """
    settings = platform.settings
    if settings.upstream_account != "settings" and settings.auth != "oauth":
        raise ConfigurationError(
            f"MCP_UPSTREAM_ACCOUNT={settings.upstream_account} needs MCP_AUTH=oauth: only there do users sign in here."
        )
    _check_credentials(settings)
    match settings.auth:
        case "none":
            return AuthMode(Nobody())
        case "keys":
            return AuthMode(BearerKeys(settings.keys, scopes))
        case auth if settings.public_url is None:
            raise ConfigurationError(f"MCP_AUTH={auth} needs MCP_PUBLIC_URL: clients are told where to be authorized.")
        case "oauth":
            if not platform.shared:
                raise ConfigurationError(
                    "MCP_AUTH=oauth needs a store where one write wins: on Workers, bind a D1 database as DB."
                )
            from mcp_edge.auth.server.routes import ServerRoutes  # noqa: PLC0415

            routes = ServerRoutes(platform, scopes)
            return AuthMode(routes.authenticator, routes.routes(), routes.accounts)
        case "jwt" | "access":
            from mcp_edge.auth.resource.routes import resource_server  # noqa: PLC0415

            return AuthMode(*resource_server(platform, scopes))


def _check_credentials(settings: Settings) -> None:
    """Refuse a credential for a bare subject where users come from two places: it may be somebody else's in the other.

    Raises:
        ConfigurationError
    """
    two = settings.auth == "oauth" and settings.keys and settings.identity != "keys"
    bare = [n for n, name in enumerate(settings.upstream_tokens, 1) if "|" not in name]
    if two and bare:  # the name is not quoted: it may be a token whose place was mixed up with the name's
        raise ConfigurationError(
            f"MCP_UPSTREAM_TOKENS: the name of entry {bare[0]} may be that of an access key in MCP_KEYS or of a user "
            f"of MCP_IDENTITY={settings.identity}. Write the principal: `keys||NAME`, or `ISSUER||SUBJECT`."
        )
