"""The settings -> the identity provider. Only the module of the provider that they name is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from mcp_edge.auth.identity.admission import EVERYBODY, Admission
from mcp_edge.auth.identity.provider import Provider, RedirectProvider
from mcp_edge.errors import ConfigurationError
from mcp_edge.platform import Platform

if TYPE_CHECKING:
    from pydantic import SecretStr


def identity_provider(platform: Platform) -> Provider:
    """The identity provider that the settings name.

    Raises:
        ConfigurationError: a setting that the provider needs is missing.
    """
    settings = platform.settings
    match settings.identity:
        case "dev":
            from mcp_edge.auth.identity.dev import Dev  # noqa: PLC0415

            return Dev()
        case "keys":
            from mcp_edge.auth.identity.access_keys import Keys  # noqa: PLC0415

            if not settings.keys:
                raise ConfigurationError("MCP_KEYS is not set: nobody could sign in. `mcp-edge keys create` makes one.")
            return Keys(settings.keys, settings.public_url or "")
        case kind:
            if not settings.allowed_users:
                raise ConfigurationError(
                    "MCP_ALLOWED_USERS is not set: name who may sign in, or write * to let everybody in who has an "
                    "account there."
                )
            return _redirect_provider(
                platform,
                "MCP_IDENTITY",
                kind,
                issuer=settings.identity_issuer,
                client_id=settings.identity_client_id,
                client_secret=settings.identity_client_secret,
                scopes=settings.identity_scopes,
                admission=Admission(settings.allowed_users),
                keeps_tokens=settings.upstream_account == "identity",
            )


def account_provider(platform: Platform, identity: Provider) -> RedirectProvider | None:
    """The provider of the accounts that users link for what tools do upstream; None where tools use none.

    With `upstream_account=identity` it is `identity`, the identity provider.

    Raises:
        ConfigurationError: what this way needs is not set.
    """
    settings = platform.settings
    match settings.upstream_account:
        case "settings":
            return None
        case "identity":
            if not isinstance(identity, RedirectProvider):
                raise ConfigurationError(
                    f"MCP_UPSTREAM_ACCOUNT=identity needs an identity provider with accounts: "
                    f"MCP_IDENTITY={settings.identity} has none."
                )
            return identity
        case "connect":
            return _redirect_provider(
                platform,
                "MCP_CONNECT",
                settings.connect_provider,
                issuer=settings.connect_issuer,
                client_id=settings.connect_client_id,
                client_secret=settings.connect_client_secret,
                scopes=settings.connect_scopes,
                admission=Admission((EVERYBODY,)),  # who the user is was settled when he signed in
                keeps_tokens=True,
            )


def _redirect_provider(
    platform: Platform,
    prefix: str,
    kind: Literal["github", "sentry", "oidc"],
    *,
    issuer: str | None,
    client_id: str | None,
    client_secret: SecretStr | None,
    scopes: Sequence[str],
    admission: Admission,
    keeps_tokens: bool,
) -> RedirectProvider:
    client_id = _registered(prefix, client_id)
    if admission.by_login and kind != "github":
        raise ConfigurationError(f"MCP_ALLOWED_USERS: only GitHub knows login names; {kind} does not.")
    secret = client_secret.get_secret_value() if client_secret else ""
    match kind:
        case "github" | "sentry":
            from mcp_edge.auth.identity.github import GitHub  # noqa: PLC0415
            from mcp_edge.auth.identity.sentry import Sentry  # noqa: PLC0415

            provider = GitHub if kind == "github" else Sentry
            return provider(
                platform, base_url=issuer or "", client_id=client_id, client_secret=secret, scopes=scopes,
                admission=admission,
            )  # fmt: skip
        case "oidc":
            if not issuer:
                raise ConfigurationError(f"{prefix}_ISSUER is not set: name the OpenID Connect provider's issuer URL.")
            from mcp_edge.auth.identity.oidc import Oidc  # noqa: PLC0415

            return Oidc(
                platform,
                issuer=issuer,
                client_id=client_id,
                client_secret=secret,
                scopes=scopes,
                admission=admission,
                keeps_tokens=keeps_tokens,
            )


def _registered(prefix: str, client_id: str | None) -> str:
    if not client_id:
        raise ConfigurationError(f"{prefix}_CLIENT_ID is not set: register this server at the provider first.")
    return client_id
