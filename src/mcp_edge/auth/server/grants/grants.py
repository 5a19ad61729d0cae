"""A user's grant to a client, from its code to its end: one record, and one swap for each thing that happens to it.

The swap decides. An access token is kept before the swap that enters it, and removed before the swap that ends the
grant: so whatever was handed out is entered, and nothing that is entered outlives the end. It knows no HTTP.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256

from mcp_edge.audit import decided
from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.grants import token_format
from mcp_edge.auth.server.grants.access_tokens import AccessTokens, ClientNotAccepted
from mcp_edge.auth.server.grants.issuing import Issuing, Tokens, refused
from mcp_edge.auth.server.grants.record import Grant
from mcp_edge.auth.server.grants.sign_outs import SignOuts
from mcp_edge.auth.server.grants.store import GrantStore, StoredGrant
from mcp_edge.auth.server.grants.token_format import Code, RefreshToken, digest
from mcp_edge.auth.server.model import Approval, Client, ConnectedApp, OAuthError
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.urls import Urls
from mcp_edge.user import User


class Grants:
    """What users have granted to clients, and what becomes of it: codes, tokens, revocation, introspection.

    Whatever a client does wrong is an `OAuthError`.
    """

    def __init__(
        self,
        platform: Platform,
        ring: KeyRing,
        urls: Urls,
        scopes: Callable[[], Awaitable[Scopes]],
        admits: Callable[[User], bool],
        refusal: Callable[[str, str, str], str],
    ) -> None:
        """`admits` says whether what once let a user in is still there (`identity.Provider`); `refusal` is
        `AcceptedClients.refusal`."""
        self._admits = admits
        self._refusal = refusal
        self._settings = platform.settings
        self._clock = platform.clock
        self._urls = urls
        self._scopes = scopes
        self._access = AccessTokens(platform, ring, scopes, refusal)
        self._sign_outs = SignOuts(platform)
        self._store = GrantStore(platform, ring, self._access)
        self._issuing = Issuing(platform, ring, self._store, self._access)

    async def approve(self, approval: Approval, *, since: str, stands: Callable[[], Awaitable[bool]]) -> str:
        """A new grant's authorization code. `since` is the mark (`SignOuts`) that was the latest as the user signed in;
        `stands` says whether the user's consent is still there, and is asked once the grant is on the user's list.

        Raises:
            OAuthError: `access_denied`: the user has signed out everywhere since, or taken the consent back.
        """
        code = Code(token_format.new_id(), token_format.new_secret())
        requested, now = approval.request, self._clock()
        grant = Grant(
            stage="code",
            user=approval.user,
            client_id=requested.client_id,
            client_name=approval.client_name,
            redirect_uri=requested.redirect_uri,
            code_challenge=requested.code_challenge,
            resource=requested.resource,
            scopes=approval.scopes,
            created_at=now,
            used_at=now,
            expires_at=now + self._settings.code_ttl_s,
            code=digest(code.secret),
            client_kind=requested.client_kind,
        )
        key = await self._store.create(code.grant_id, grant)
        if await self._sign_outs.since(approval.user.principal, since):
            await self._store.finish(key, "its user has signed out everywhere meanwhile")
            raise OAuthError("access_denied", "You have signed out everywhere meanwhile. Start again from your app.")
        if not await stands():
            await self._store.finish(key, "its user has taken the app's access back meanwhile")
            raise OAuthError("access_denied", "You have taken this app's access back. Start again from your app.")
        return str(code)

    async def redeem(
        self, code: str, client: Client, *, redirect_uri: str | None, verifier: str, resource: str | None
    ) -> Tokens:
        """Tokens for a code, once. A replay ends the family (RFC 6749 §4.1.2, RFC 7636 §4.6).

        `redirect_uri`, if sent, must be that of the authorization request (RFC 6749 §4.1.3). If it is not sent, PKCE
        protects the code (OAuth 2.1 §10.2).

        Raises:
            OAuthError: `invalid_grant`, `invalid_target`.
        """
        presented = token_format.parse(code)
        if not isinstance(presented, Code):
            raise refused("not a code")
        while True:
            stored = await self._store.find(presented.grant_id)
            if stored is None or not _same(stored.grant.code, presented.secret):
                raise refused("unknown, expired or ended code")
            grant = stored.grant
            if grant.client_id != client.id:
                raise refused(f"a code of the client {grant.client_id}")
            if not hmac.compare_digest(_challenge(verifier), grant.code_challenge.encode()):
                raise refused("wrong code_verifier")
            if grant.stage == "live":
                await self._store.finish(stored.key, "the code was used again")
                raise refused("the code was used before")
            if redirect_uri is not None and redirect_uri != grant.redirect_uri:
                raise refused("another redirect_uri than that of the authorization request")
            await self._check_admitted(stored)
            audience = self._audience(grant, resource)
            first = RefreshToken(presented.grant_id, token_format.new_id(), token_format.new_secret())
            renewable = "refresh_token" in client.grant_types
            await self._store.make_room(grant.user.principal, stored.key)
            tokens = await self._issuing.advance(stored, first if renewable else None, grant.scopes, audience)
            if tokens is not None:
                return tokens

    async def refresh(
        self, token: str, client: Client, *, scopes: frozenset[str] | None, resource: str | None
    ) -> Tokens:
        """The next tokens. Reuse within the grace window gets the same answer, after it the family ends.

        `scopes` may be fewer than granted; the grant keeps all (RFC 6749 §6).

        Raises:
            OAuthError: `invalid_grant`, `invalid_scope`, `invalid_target`.
        """
        presented = token_format.parse(token)
        if not isinstance(presented, RefreshToken):
            raise refused("not a refresh token")
        while True:
            stored = await self._store.find(presented.grant_id)
            if stored is None or not _same(stored.grant.family, presented.family):
                raise refused("unknown, expired or ended refresh token")
            grant = stored.grant
            if grant.client_id != client.id:
                raise refused(f"a refresh token of the client {grant.client_id}")
            await self._check_admitted(stored)
            audience = self._audience(grant, resource)
            declared = await self._scopes()
            if scopes is not None and not scopes <= declared.closure(grant.scopes):
                raise OAuthError("invalid_scope", "A refresh cannot add scopes to those that were granted.")
            if _same(grant.refresh, presented.secret):
                successor = replace(presented, secret=token_format.new_secret())
                tokens = await self._issuing.advance(
                    stored, successor, scopes or grant.scopes, audience, presented=presented
                )
                if tokens is not None:
                    return tokens
            elif _same(grant.previous, presented.secret) and self._clock() < grant.grace_until:
                return self._issuing.answer_again(stored, presented, declared.closure(scopes or grant.scopes), audience)
            else:
                await self._store.finish(stored.key, "an old refresh token was used again")
                raise refused("the refresh token was used before")

    async def revoke(self, token: str, client: Client) -> None:
        """End a token of this client (RFC 7009): with a refresh token its whole grant ends, an access token ends
        alone."""
        presented = token_format.parse(token)
        if isinstance(presented, RefreshToken):
            stored = await self._store.find(presented.grant_id)
            grant = stored and stored.grant
            if stored and grant and _same(grant.family, presented.family) and grant.client_id == client.id:
                await self._store.finish(stored.key, "revoked by its client")
            return
        found = await self._access.find(token.encode())
        if found is None:
            await self._access.remove_rest(token.encode())
        elif found.user.client == client.id:
            await self._access.remove(digest(token))
            decided("revoke", "allowed", principal=found.user.principal, client=client.id, reason="one access token")

    async def introspect(self, token: str, client: Client) -> dict[str, object]:
        """RFC 7662 §2.2: the members of an active token of this client, or `{"active": False}`.

        There is no `sub`, which is optional: a digest of an account's number could be tried out until it fits.
        """
        presented = token_format.parse(token)
        if isinstance(presented, RefreshToken):
            stored = await self._store.find(presented.grant_id)
            grant = stored and stored.grant
            if not grant or not _same(grant.refresh, presented.secret) or grant.client_id != client.id:
                return {"active": False}
            if self._fault(grant):
                return {"active": False}
            return self._members(client, grant.scopes, grant.resource, grant.used_at, grant.expires_at)
        found = await self._access.find(token.encode())
        if found is None or found.user.client != client.id or not self._admits(found.user) or found.refusal:
            return {"active": False}
        members = self._members(client, found.scopes, found.audience, found.issued_at, found.expires_at)
        return {**members, "token_type": "Bearer"}

    async def user(self, access_token: str, audiences: frozenset[str]) -> User | None:
        """The user of a live access token that is for one of `audiences`; None for any other token, or for a user who
        is no longer admitted. It costs one read of the store.

        Raises:
            ClientNotAccepted: the token's client is not accepted any more.
        """
        found = await self._access.find(access_token.encode())
        if found is None or found.audience not in audiences or not self._admits(found.user):
            return None
        if found.refusal:
            raise ClientNotAccepted(found.user, found.refusal)
        return found.user

    async def of(self, principal: str) -> list[ConnectedApp]:
        """The user's live grants as apps, the one used latest first."""
        return [
            ConnectedApp(
                stored.key,
                stored.grant.client_id,
                stored.grant.client_name,
                stored.grant.redirect_uri,
                stored.grant.scopes,
                stored.grant.created_at,
                stored.grant.used_at,
            )
            for stored in await self._store.of(principal)
            if stored.grant.stage == "live"
        ]

    async def end(self, principal: str, grant_id: str) -> None:
        """End one grant of the user, by its `ConnectedApp.grant_id`. Another user's grant is left alone."""
        stored = await self._store.get(grant_id)
        if stored is not None and stored.grant.user.principal == principal:
            await self._store.finish(stored.key, "ended by its user")

    async def end_client(self, principal: str, client_id: str) -> bool:
        """End every grant of the user to a client, codes included. Whether there was any."""
        found = [stored for stored in await self._store.of(principal) if stored.grant.client_id == client_id]
        for stored in found:
            await self._store.finish(stored.key, "ended by its user")
        return bool(found)

    async def end_all(self, principal: str) -> None:
        """End every grant of the user, codes included, and those that are being approved right now."""
        await self._sign_outs.record(principal)
        for stored in await self._store.of(principal):
            await self._store.finish(stored.key, "ended by its user, with all others")

    async def _check_admitted(self, stored: StoredGrant) -> None:
        """End a grant whose user or client the operator has taken away.

        Raises:
            OAuthError: `invalid_grant`.
        """
        if fault := self._fault(stored.grant):
            await self._store.finish(stored.key, fault)
            raise refused(fault)

    def _fault(self, grant: Grant) -> str:
        """Why the operator's settings do not accept the grant any more; empty while they do."""
        if not self._admits(grant.user):
            return "its user is no longer admitted"
        return self._refusal(grant.client_id, grant.client_kind, grant.redirect_uri)

    def _audience(self, grant: Grant, resource: str | None) -> str:
        """The audience of the next tokens: the resource that was granted, or one endpoint of it (RFC 8707 §2.2)."""
        requested = grant.resource if resource is None else self._urls.resource(resource)
        if requested is not None and grant.resource in (requested, self._urls.issuer):
            return requested
        raise OAuthError("invalid_target", "The grant is for another resource.")

    def _members(
        self, client: Client, scopes: frozenset[str], audience: str, issued_at: float, expires_at: float
    ) -> dict[str, object]:
        return {
            "active": True,
            "scope": " ".join(sorted(scopes)),
            "client_id": client.id,
            "aud": audience,
            "iss": self._urls.issuer,
            "iat": int(issued_at),
            "exp": int(expires_at),
        }


def _same(stored: str, secret: str) -> bool:
    """Whether `stored` is the digest of `secret`; an empty one is that of nothing."""
    return hmac.compare_digest(stored, digest(secret))


def _challenge(verifier: str) -> bytes:
    """RFC 7636 §4.6, method S256."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=")
