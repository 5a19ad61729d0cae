"""Tells a token that an app got for itself (client credentials, RFC 6749 §4.4) from one that it got for a user. Pure.

Some issuers give every app that they know such a token, for any audience: Entra to all apps of a tenant. It proves no
more than that the app exists there.
"""

from __future__ import annotations

from typing import Any

from mcp_edge.auth.resource.token_cache import says_something, texts
from mcp_edge.text.ascii import lowered

_CLIENTS = ("client_id", "cid", "azp", "appid")
"""Claims that name the client: RFC 9068's, Okta's, OpenID Connect's and Entra's."""
_OF_ENTRA = ("azpacr", "appidacr")
"""Claims of every access token of Entra's. Those of users have a scope (`scp`), always."""
_GRANTS = ("client-credentials", "client_credentials")
_SERVICE_ACCOUNT = "service-account-"
"""What the name of Keycloak's service accounts begins with."""


def is_apps_own(claims: dict[str, Any]) -> bool:
    """Whether nothing shows a user behind the token, as its issuer writes its tokens."""
    if "idtyp" in claims:  # Entra's: `user`, `app` or `device`
        return _small(claims["idtyp"]) != {"user"}
    if not _small(claims.get("gty")).isdisjoint(_GRANTS):  # Auth0's
        return True
    subject = _small(claims.get("sub"))
    clients = {client for name in _CLIENTS for client in _small(claims.get(name))}
    if subject <= clients | {f"{client}@clients" for client in clients}:  # RFC 9068 §2.2; Auth0
        return True
    of_entra = any(name in claims for name in _OF_ENTRA) or subject == _small(claims.get("oid"))
    if of_entra and not says_something(claims.get("scp")):
        return True
    return any(name.startswith(_SERVICE_ACCOUNT) for name in _small(claims.get("preferred_username")))


def _small(value: Any) -> set[str]:
    """The texts of a claim: ids and words that issuers write in capitals, too."""
    return {lowered(text.strip(" ")) for text in texts(value)}
