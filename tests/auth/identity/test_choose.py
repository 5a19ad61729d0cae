"""What a provider needs is asked for at the start, in words."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_edge.auth.identity.choose import account_provider, identity_provider
from mcp_edge.errors import ConfigurationError
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.user import User

OIDC: dict[str, Any] = {
    "identity": "oidc",
    "identity_issuer": "https://login.acme.test",
    "identity_client_id": "mcp",
    "allowed_users": ("*",),
}
GITHUB: dict[str, Any] = {"identity": "github", "identity_client_id": "mcp", "allowed_users": ("*",)}


def platform(**settings: Any) -> Platform:
    told: dict[str, Any] = {"auth": "oauth", "public_url": "https://mcp.example", **settings}
    return Platform(Settings(**told), MemoryRecords(), MemoryAtomics())


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "Name"),
        ({"identity": "keys", "keys": {"alice": "0" * 64}}, "Access key"),
        (GITHUB, "GitHub"),
        ({**GITHUB, "allowed_users": ("login:octocat",)}, "GitHub"),
        ({**GITHUB, "identity": "sentry"}, "Sentry"),
        (OIDC, "login.acme.test"),
    ],
    ids=["dev", "keys", "github", "github by login", "sentry", "oidc"],
)
def test_the_settings_name_the_provider(settings: dict[str, Any], label: str) -> None:
    assert identity_provider(platform(**settings)).label == label


KINDS: list[tuple[dict[str, Any], User]] = [
    ({}, User("dev", "1")),
    ({"identity": "keys", "keys": {"1": "0" * 64}}, User("keys", "1", admitted=f"{'0' * 64}:")),
    (GITHUB, User("https://github.com", "1", admitted="*")),
    ({**GITHUB, "identity_issuer": "https://github.acme.test"}, User("https://github.acme.test", "1", admitted="*")),
    ({**GITHUB, "identity": "sentry"}, User("https://sentry.io", "1", admitted="*")),
    (OIDC, User("https://login.acme.test", "1", admitted="*")),
    ({**OIDC, "identity_issuer": "https://other.test"}, User("https://other.test", "1", admitted="*")),
]
"""Settings, and a user whom each of them lets in."""


@pytest.mark.parametrize(("settings", "own"), KINDS)
def test_whom_one_way_to_sign_in_has_let_in_is_admitted_by_no_other(settings: dict[str, Any], own: User) -> None:
    provider = identity_provider(platform(**settings))
    users = [user for _, user in KINDS]

    assert [user for user in users if provider.admits(user)] == [own]
    assert len({user.principal for user in users}) == len(users)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({**OIDC, "identity_issuer": None}, "MCP_IDENTITY_ISSUER"),
        ({**OIDC, "identity_client_id": None}, "MCP_IDENTITY_CLIENT_ID"),
        ({**OIDC, "allowed_users": ()}, "MCP_ALLOWED_USERS"),
        ({**GITHUB, "allowed_users": ()}, "MCP_ALLOWED_USERS"),
        ({**GITHUB, "identity_issuer": "http://github.acme.test"}, "must be https"),
        ({**GITHUB, "identity": "sentry", "identity_issuer": "ftp://sentry.test"}, "must be https"),
        ({**OIDC, "identity_issuer": "http://login.acme.test"}, "must be https"),
        ({**OIDC, "allowed_users": ("login:octocat",)}, "only GitHub knows login names"),
        ({"identity": "keys"}, "MCP_KEYS"),
    ],
)
def test_what_is_missing_is_named(settings: dict[str, Any], missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        identity_provider(platform(**settings))


def test_accounts_are_of_the_identity_provider_of_another_one_or_of_nobody() -> None:
    own, other, none = (
        platform(**OIDC, upstream_account="identity"),
        platform(**OIDC, upstream_account="connect", connect_client_id="mcp"),
        platform(**OIDC),
    )
    identity = identity_provider(own)

    assert account_provider(own, identity) is identity
    connected = account_provider(other, identity)
    assert connected is not None
    assert connected.label == "GitHub"
    assert account_provider(none, identity) is None


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"upstream_account": "identity"}, "MCP_IDENTITY=dev has none"),
        ({"upstream_account": "connect"}, "MCP_CONNECT_CLIENT_ID"),
        ({"upstream_account": "connect", "connect_client_id": "a", "connect_provider": "oidc"}, "MCP_CONNECT_ISSUER"),
    ],
)
def test_what_accounts_need_is_named(settings: dict[str, Any], missing: str) -> None:
    where = platform(**settings)
    with pytest.raises(ConfigurationError, match=missing):
        account_provider(where, identity_provider(where))
