"""The record of a grant: what it says, and how it is kept. It knows no store and decides nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.user import User

FORMAT = 1
_WITH_KIND = 2
"""The format with `client_kind`. For a release that does not know this format the grant has ended."""
_PURPOSE = "grant"


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token that may be alive, so that the grant's end can remove it."""

    digest: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant that has not ended. Secrets are SHA-256 in hex; times are epoch seconds."""

    stage: Literal["code", "live"]
    """`code` until its code is redeemed."""
    user: User
    client_id: str
    client_name: str
    redirect_uri: str
    code_challenge: str
    resource: str
    scopes: frozenset[str]
    created_at: float
    used_at: float
    expires_at: float
    code: str
    """The code's secret. It stays after the redemption, so that a replay is recognized."""
    family: str = ""
    refresh: str = ""
    """The present refresh token's secret; empty where the client gets none."""
    previous: str = ""
    """The secret of the previous refresh token. Until `grace_until` that token gets `answer` again."""
    grace_until: float = 0
    answer: str = ""
    """The answer that the previous refresh token got, sealed under that token and the key ring, in hex."""
    issued: tuple[Issued, ...] = ()
    client_kind: str = ""
    """`Client.recorded_kind`."""


def dump(ring: KeyRing, key: str, grant: Grant | None) -> bytes:
    """The sealed record of a grant, or of one that has ended, of which nothing is kept."""
    return ring.seal(_PURPOSE, json.dumps(_members(grant), separators=(",", ":")).encode(), context=key)


def load(ring: KeyRing, key: str, raw: bytes) -> Grant | None:
    """The grant; None when it has ended, or was sealed under a key that is gone."""
    data = ring.open(_PURPOSE, raw, context=key)
    if data is None:
        return None
    found: dict[str, Any] = json.loads(data)
    if found["v"] not in (FORMAT, _WITH_KIND) or found["stage"] == "ended":
        return None
    del found["v"]
    found["user"] = load_user(found["user"])
    found["scopes"] = frozenset(found["scopes"])
    found["issued"] = tuple(Issued(*pair) for pair in found["issued"])
    return Grant(**found)


def dump_user(user: User) -> list[str]:
    """Who it is, without what one credential allows."""
    return [user.issuer, user.tenant, user.subject, user.name, user.admitted]


def load_user(found: list[str]) -> User:
    """The inverse of `dump_user`."""
    issuer, tenant, subject, name, admitted = found
    return User(issuer=issuer, tenant=tenant, subject=subject, name=name, admitted=admitted)


def _members(grant: Grant | None) -> dict[str, Any]:
    if grant is None:
        return {"v": FORMAT, "stage": "ended"}
    plain = {name: getattr(grant, name) for name in Grant.__slots__}
    if not grant.client_kind:
        del plain["client_kind"]
    return {
        "v": _WITH_KIND if grant.client_kind else FORMAT,
        **plain,
        "user": dump_user(grant.user),
        "scopes": sorted(grant.scopes),
        "issued": [(token.digest, token.expires_at) for token in grant.issued],
    }
