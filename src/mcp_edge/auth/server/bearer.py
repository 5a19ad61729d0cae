"""The bearer token of a request -> its user. The token is an access token, or an access key made for this server.

Only the header counts (RFC 6750 §2.1): a token in the query or in a body is ignored. It knows no grant's record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from hashlib import sha256

from mcp_edge.audit import decided
from mcp_edge.auth.authenticator import bearer
from mcp_edge.auth.resource import challenges
from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.grants.access_tokens import ClientNotAccepted
from mcp_edge.auth.server.grants.grants import Grants
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.urls import ENDPOINTS, Urls
from mcp_edge.user import User

_REASON = "unknown, expired or ended token, or one for another resource"


class BearerTokens:
    """Authenticates by the access tokens of this server's own authorization server, and by access keys
    (`auth=oauth`)."""

    def __init__(
        self,
        urls: Urls,
        grants: Callable[[], Grants],
        scopes: Callable[[], Awaitable[Scopes]],
        keys: Mapping[bytes, User],
    ) -> None:
        """`grants` makes them at the first request; `keys` are users by the digest of their access key."""
        self._urls = urls
        self._grants = grants
        self._scopes = scopes
        self._keys = keys
        self._audiences = {path: urls.accepted_at(path) for path in (*ENDPOINTS, "/messages")}

    async def authenticate(self, request: Request) -> User:
        """The user of the bearer token.

        Raises:
            Unauthenticated: no bearer token was sent, or one that is not valid at this path.
        """
        sent = bearer(request)
        if sent is None:
            raise challenges.missing(self._urls, request.path, (await self._scopes()).baseline)
        token = sent.strip(b" \t")
        try:
            user = await self._grants().user(token.decode("latin-1"), self._audiences[request.path])
        except ClientNotAccepted as e:
            decided(request.path, "refused", principal=e.user.principal, client=e.user.client, reason=str(e))
            raise challenges.invalid(self._urls, request.path, (await self._scopes()).baseline) from e
        if user is None and self._keys and token:
            user = await self._by_key(token)
        if user is not None:
            return user
        decided(request.path, "refused", reason=_REASON)
        raise challenges.invalid(self._urls, request.path, (await self._scopes()).baseline)

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """The challenge that names the scopes which the token lacks (RFC 6750 §3.1)."""
        return challenges.insufficient(self._urls, request.path, needed).headers

    async def _by_key(self, key: bytes) -> User | None:
        """The user of an access key. The digest covers this server's URL, so that a key is good here alone."""
        user = self._keys.get(sha256(self._urls.issuer.encode() + b"\n" + key).digest())
        if user is None or user.scopes is None:
            return user
        return replace(user, scopes=(await self._scopes()).closure(user.scopes))
