"""Sessions of the handshake revisions: opened once, read by every request on any instance.

A session's id is signed, so that a forged one costs no read. The store knows the id's hash only. A session answers only
to the principal and the app that opened it. What changes in a session (log level, subscriptions) has keys of its own.
Sessions know no HTTP.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import mcp_types as t
from pydantic_core import from_json

from mcp_edge.errors import BadRequest, NotFound, StoreUnavailable, TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol.jsonrpc import encode
from mcp_edge.protocol.signing import Signer, mint
from mcp_edge.records import keys, session_list
from mcp_edge.records.ceilings import may_stay
from mcp_edge.records.changes import MAX_URI_BYTES, uri_bytes
from mcp_edge.records.quotas import Quotas
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User

FORMAT = 1
_KNOWN = 1024
_KNOWN_BYTES = 4096
_SEEN = 64
"""So many subscriptions beyond the most are seen at once."""
_ENDED_S = 3600
"""Seconds for which the store knows that a session was ended: more than any renewal takes."""
MOST_SUBSCRIPTIONS = 256
"""So many URIs may one session, or one listening stream, subscribe to."""

LEVELS: tuple[str, ...] = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""RFC 5424 severities, least first."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session as every request of it sees it."""

    key: str
    """The hash of the session's id. Everything that is stored for the session is named by it."""
    principal: str
    app: str
    """The OAuth client that opened the session; empty where there is none."""
    version: str
    """The negotiated revision of MCP."""
    client: t.InitializeRequestParams
    """What the client said in `initialize`."""
    label: str
    """`name/version` of the client."""
    created: float
    expires: float
    """Both in epoch seconds."""

    def is_of(self, user: User) -> bool:
        """Whether `user` has opened the session, with the same app."""
        return self.principal == user.principal and self.app == user.client


class Sessions:
    """Opens, loads, renews and ends sessions."""

    def __init__(self, platform: Platform, signer: Signer) -> None:
        self._platform = platform
        self._records = platform.records
        self._signer = signer
        self._list = session_list.SessionList(platform)
        self._keys: dict[str, str] = {}
        # A pure function of the record's bytes, so it cannot go stale; the store is still read for each request.
        self._decoded: dict[bytes, Session] = {}
        # Nor can this one go stale; most sessions are of few kinds of clients.
        self._clients: dict[bytes, t.InitializeRequestParams] = {}

    def mint(self) -> str:
        """A fresh session id: visible ASCII, unguessable, signed."""
        return self._signer.sign("session", mint())

    def _verify(self, session_id: str) -> str:
        """The key of the record of a signed id. It is remembered: a pure function of the id and the server's keys."""
        if self._signer.verify("session", session_id) is None:
            raise NotFound("Session not found: initialize again.", code=-32001)
        if len(self._keys) >= _KNOWN:
            self._keys.clear()
        key = self._keys[session_id] = f"{keys.SESSION}{short_hash(session_id)}"
        return key

    def key_of(self, session_id: str) -> str | None:
        """The name of everything stored for a session, or None when the id is forged."""
        return None if self._signer.verify("session", session_id) is None else short_hash(session_id)

    def posting_id(self, key: str) -> str:
        """What HTTP+SSE puts in a URL: good for posting to the session, not for reading or resuming it."""
        return self._signer.sign("post", key)

    def key_of_posting_id(self, posting_id: str) -> str | None:
        """The name of everything stored for the session, or None when the id is forged."""
        return self._signer.verify("post", posting_id)

    async def open(self, session_id: str, user: User, client: dict[str, Any], version: str) -> Session:
        """Write the record of a new session. Over the principal's quota (`MCP_MAX_SESSIONS`) the oldest ones give way.

        `client` holds the params of `initialize`, `version` the negotiated revision.

        Raises:
            TooMany: this session has to give way itself, since so many are opened at the same time.
        """
        now, ttl_s = self._platform.clock(), self._platform.settings.session_ttl_s
        key, created = short_hash(session_id), await self._list.after_all_others(user.principal, now)
        record = {
            "v": FORMAT,
            "key": key,
            "principal": user.principal,
            "app": user.client,
            "version": version,
            "client": client,
            "created": created,
            "expires": now + ttl_s,
        }
        raw = encode(record)
        await self._records.put(f"{keys.SESSION}{key}", raw, ttl_s=ttl_s)
        listed_as = session_list.entry(user.principal, created, key)
        await self._records.put(listed_as, b"", ttl_s=ttl_s)
        if not await may_stay(listed_as, partial(self._list.too_many, user.principal), self._forget):
            await self._forget(listed_as)
            most = self._platform.settings.max_sessions
            raise TooMany(f"Too many sessions at once (at most {most}).", headers={"retry-after": "1"})
        return self._decode(raw)

    async def load(self, session_id: str, user: User) -> Session:
        """The session of an id. It is renewed when half of its life is gone.

        Raises:
            NotFound: for this caller there is no such session: it is unknown, ended or expired, or another principal
                or another app of the same user has opened it.
        """
        key = self._keys.get(session_id) or self._verify(session_id)
        raw = await self._records.get(key)
        session = None if raw is None else self._decoded.get(raw) or self._decode(raw)
        now = self._platform.clock()
        if raw is None or session is None or not session.is_of(user) or now >= session.expires:
            raise NotFound("Session not found: initialize again.", code=-32001)
        if session.expires - now < self._platform.settings.session_ttl_s / 2:
            await self._renew(raw, session, now)
        return session

    async def find(self, session_id: str, user: User) -> Session | None:
        """The session as `load` gives it, or None when there is none."""
        try:
            return await self.load(session_id, user)
        except NotFound:
            return None

    async def alive(self, session: Session) -> bool:
        """Whether the session still exists."""
        return await self._records.get(f"{keys.SESSION}{session.key}") is not None

    async def end(self, session: Session) -> None:
        """Remove the session. Streams that other instances hold for it see that and close."""
        await self._forget(session_list.entry(session.principal, session.created, session.key))

    async def set_level(self, session: Session, level: str) -> None:
        """Send only log messages of at least `level` from now on."""
        ttl_s = self._platform.settings.session_ttl_s
        await self._records.put(f"{keys.LEVEL}{session.key}", level.encode(), ttl_s=ttl_s)

    async def level(self, session: Session) -> int:
        """The index in `LEVELS` of the least severe level to send: 0, everything, until the client has chosen."""
        raw = await self._records.get(f"{keys.LEVEL}{session.key}")
        return 0 if raw is None else LEVELS.index(raw.decode())

    async def subscribe(self, session: Session, uri: str) -> None:
        """Send `resources/updated` for `uri` to this session's listener.

        Raises:
            BadRequest: the URI is too long.
            TooMany: the session has too many subscriptions, or its user has stored too much in this hour.
        """
        raw = uri_bytes(uri)
        if raw is None:
            raise BadRequest(f"The URI is over {MAX_URI_BYTES} bytes.", code=-32602)
        prefix = f"{keys.SUBSCRIPTION}{session.key}/"
        key = prefix + short_hash(uri)
        refusal = TooMany(f"A session has at most {MOST_SUBSCRIPTIONS} subscriptions.")
        known = await self._records.list(prefix, limit=MOST_SUBSCRIPTIONS)
        if len(known) >= MOST_SUBSCRIPTIONS and key not in known:
            raise refusal
        if key not in known:
            await Quotas(self._platform).charge(session.principal, len(raw))
        await self._records.put(key, raw, ttl_s=self._platform.settings.session_ttl_s)

        async def too_many() -> list[str]:
            return (await self._records.list(prefix, limit=MOST_SUBSCRIPTIONS + _SEEN))[MOST_SUBSCRIPTIONS:]

        if not await may_stay(key, too_many, self._records.delete):
            await self._records.delete(key)
            raise refusal

    async def unsubscribe(self, session: Session, uri: str) -> None:
        """Stop sending `resources/updated` for `uri`."""
        await self._records.delete(f"{keys.SUBSCRIPTION}{session.key}/{short_hash(uri)}")

    async def subscribed(self, session: Session, uri: str) -> bool:
        """Whether the session has subscribed to `uri`."""
        return await self._records.get(f"{keys.SUBSCRIPTION}{session.key}/{short_hash(uri)}") is not None

    async def subscriptions(self, session: Session) -> list[str]:
        """Every URI that the session has subscribed to."""
        listed = await self._records.list(f"{keys.SUBSCRIPTION}{session.key}/", limit=MOST_SUBSCRIPTIONS)
        found = [await self._records.get(key) for key in listed]
        return [raw.decode("utf-8", "surrogatepass") for raw in found if raw is not None]

    async def _renew(self, raw: bytes, session: Session, now: float) -> None:
        """Begin the session's life anew, unless it was ended meanwhile.

        Whoever ends a session leaves a mark before anything is removed. So either the look after these writes sees the
        mark, or the removal comes after the writes. What remains: where this instance dies, or the store fails, between
        the writes and the look, a session that was ended in that moment lives on until it expires or is ended again.

        Raises:
            NotFound: the session was ended.
        """
        ttl_s = self._platform.settings.session_ttl_s
        record = {**json.loads(raw), "expires": now + ttl_s}  # what a newer release wrote stays in it
        renewed = encode(record)
        await self._records.put(f"{keys.SESSION}{session.key}", renewed, ttl_s=ttl_s)
        await self._records.put(session_list.entry(session.principal, session.created, session.key), b"", ttl_s=ttl_s)
        for key in await self._belongings(session.key):
            value = await self._records.get(key)
            if value is not None:
                await self._records.put(key, value, ttl_s=ttl_s)
        if await self._platform.atomics.get(f"{keys.ENDED}{session.key}") is not None:
            await self._forget(session_list.entry(session.principal, session.created, session.key))
            raise NotFound("Session not found: initialize again.", code=-32001)

    async def _belongings(self, key: str) -> list[str]:
        """The keys of what changes in a session and ends with it."""
        return [f"{keys.LEVEL}{key}", *await self._records.list(f"{keys.SUBSCRIPTION}{key}/", limit=MOST_SUBSCRIPTIONS)]

    async def _forget(self, listed_as: str) -> None:
        """Remove a session and all that belongs to it, by its entry in the `SessionList`.

        A removal that fails keeps no other from being made. It leaves the session on its principal's list, where it is
        the first to give way. What belongs to the session expires by itself.

        Raises:
            StoreUnavailable: something is left.
        """
        key = session_list.session_of(listed_as)
        await self._platform.atomics.create(f"{keys.ENDED}{key}", b"1", nonce=mint(), ttl_s=_ENDED_S)
        failure: StoreUnavailable | None = None
        try:
            names = [*await self._belongings(key), f"{keys.SESSION}{key}"]
        except StoreUnavailable as e:
            names, failure = [f"{keys.SESSION}{key}"], e
        for name in names:
            try:
                await self._records.delete(name)
            except StoreUnavailable as e:
                failure = e
        if failure is not None:
            raise failure
        await self._records.delete(listed_as)

    def _decode(self, raw: bytes) -> Session:
        record = from_json(raw)
        client = self._typed(record["client"])
        session = Session(
            key=record["key"],
            principal=record["principal"],
            app=record.get("app", ""),  # what names no app is no app's
            version=record["version"],
            client=client,
            label=f"{client.client_info.name}/{client.client_info.version}"[:80],
            created=record["created"],
            expires=record["expires"],
        )
        if len(self._decoded) >= _KNOWN:
            self._decoded.clear()
        if len(raw) <= _KNOWN_BYTES:
            self._decoded[raw] = session
        return session

    def _typed(self, client: dict[str, Any]) -> t.InitializeRequestParams:
        raw = encode(client)
        typed = self._clients.get(raw)
        if typed is None:
            typed = t.InitializeRequestParams.model_validate(client, by_name=False)
            if len(self._clients) >= _KNOWN:
                self._clients.clear()
            if len(raw) <= _KNOWN_BYTES:
                self._clients[raw] = typed
        return typed
