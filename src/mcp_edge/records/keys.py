"""Every key that the server writes: which store it is in, what it holds and how long it lives.

The tables of `docs/architecture.md` and `docs/storage-schema.md` are written from the rows here. A key that no row
describes fails a test. It does no I/O.

The names in angle brackets: `<session>` is the first half of the SHA-256 of the session's id, `<user>` that of the
principal, `<stream>` a random id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SESSION = "session/"
SESSIONS = "sessions/"
LEVEL = "level/"
SUBSCRIPTION = "subscription/"
DOOR = "door/"
STREAM = "stream/"
ANNEX = "annex/"
ANSWER = "answer/"
ENDED = "ended/"
CANCEL = "cancel/"
CANCELLED = "cancelled/"
LISTENER = "listener/"
CHANGES = "changes/"
INBOX = "inbox/"
OUTBOX = "outbox/"
RUNNING = "running/"
HOLD = "hold/"
LOGGED = "logged/"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of record."""

    keys: tuple[str, ...]
    """How its keys look. `<…>` stands for one part without a slash, `…` for anything."""
    store: Literal["record", "atomic"]
    """The port that keeps it: `RecordStore` or `AtomicStore`."""
    holds: str
    life: str
    """How long it lives after its last write, by the names of the options (`MCP_…`) that say so; "no end" for ever."""


CORE = (
    Row(
        (SESSION + "<session>",),
        "record",
        "revision, client, principal, app; renewed when half of its life is gone",
        "`MCP_SESSION_TTL_S`",
    ),
    Row((SESSIONS + "<user>/…",), "record", "the user's sessions, oldest first, for the quota", "`MCP_SESSION_TTL_S`"),
    Row((LEVEL + "<session>",), "record", "the log level that the client chose", "`MCP_SESSION_TTL_S`"),
    Row(
        (SUBSCRIPTION + "<session>/…",),
        "record",
        "the URI of a resource whose changes the client waits for",
        "`MCP_SESSION_TTL_S`",
    ),
    Row(
        (DOOR + "<session>",),
        "record",
        "HTTP+SSE: whose the stream is, at which app, until when it is held",
        "60 minutes and `MCP_STREAM_TTL_S`; less where a host holds streams for less",
    ),
    Row(("user/<user>/…",), "record", "what tools keep with `state()`", "as the tool says"),
    Row(("catalogue/…",), "record", "a hash of the tools, prompts and resources last served", "no end"),
    Row(
        (STREAM + "<stream>",),
        "atomic",
        "a stream's head: whose it is, which request it answers, the lease, what is asked",
        "`MCP_STREAM_TTL_S` and `MCP_QUESTION_TTL_S`",
    ),
    Row(
        (ANNEX + "<stream>/…",),
        "atomic",
        "what of the head is large: the call, where it is over 512 bytes, and what is asked, where it is over 2 KiB",
        "`MCP_STREAM_TTL_S`, `MCP_QUESTION_TTL_S` and 1 h",
    ),
    Row((STREAM + "<stream>/<seq>",), "atomic", "one message of the stream", "as its head"),
    Row((ANSWER + "…",), "atomic", "the client's answer to a question", "`MCP_QUESTION_TTL_S` and 60 s"),
    Row((ENDED + "<session>",), "atomic", "that a session was ended: no renewal brings it back", "1 h"),
    Row((CANCEL + "<session>/…",), "atomic", "when a request was cancelled", "60 s"),
    Row(
        (CANCELLED + "<user>/…",),
        "atomic",
        "how many requests the user has cancelled in this minute, for the limit",
        "120 s",
    ),
    Row(
        (LISTENER + "<session>", LISTENER + "<stream>"),
        "atomic",
        "who reads the session's own stream, or the stream of a call that was resumed",
        "61 minutes; less where a host holds streams for less",
    ),
    Row((CHANGES + "<user>", CHANGES + "all"), "atomic", "the last 256 changes", "7 days"),
    Row((INBOX + "<session>/…",), "atomic", "HTTP+SSE: messages posted, not yet taken", "300 s"),
    Row((OUTBOX + "<session>/…",), "atomic", "HTTP+SSE: the stream's messages", "`MCP_STREAM_TTL_S`"),
    Row((RUNNING + "<session>/…",), "atomic", "HTTP+SSE: a request under way, with its lease", "`MCP_STREAM_TTL_S`"),
    Row(
        (ANNEX + "<session>/…",),
        "atomic",
        "HTTP+SSE: such a request, where it is over 512 bytes; deleted with its answer",
        "as its lease, and 1 h",
    ),
    Row(
        (HOLD + "<user>/…",),
        "atomic",
        "one numbered place for the quota: of an open stream, a call of HTTP+SSE or a question",
        "60 s",
    ),
    Row((LOGGED + "<user>/…",), "atomic", "bytes stored in this hour, for the quota", "2 h"),
)
"""The records of sessions, calls and streams."""

AUTHORIZATION = (
    Row(
        ("token/<hash of the access token>",),
        "record",
        "user, client and its redirect URI, grant, scopes, audience; **sealed with the token mixed in**",
        "`MCP_ACCESS_TOKEN_TTL_S`",
    ),
    Row(
        ("grant/<hash of the grant's id>",),
        "atomic",
        "a grant from its code to its end; **sealed**",
        "`MCP_CODE_TTL_S`, then `MCP_REFRESH_TOKEN_TTL_S` from each use; an ended one 1 hour",
    ),
    Row(("grants/<user>/<grant>",), "record", "nothing: the list of a user's grants", "as the grant"),
    Row(
        ("client/<hash of the client id>",),
        "record",
        "a client that got tokens: its registration, or the document that it publishes; secrets hashed",
        "90 days, renewed in use",
    ),
    Row(
        ("client/<hash of the client id>/new",),
        "record",
        "the same of a client that got no tokens yet",
        "a registration 1 day, a document 40 minutes; less where there is no room",
    ),
    Row(("unused/<number>",), "record", "which new client has this place, of 4,096", "2 days"),
    Row(("unused/next",), "atomic", "the number of the next place", "2 days"),
    Row(
        ("flow/<hash of state>",),
        "atomic",
        "an authorization, or an account to connect, while its user is away and until the user has answered the page"
        " after that; **sealed with `state` mixed in**",
        "10 minutes",
    ),
    Row(
        ("invited/<user>",),
        "atomic",
        "the link at which this user is to connect an account, which is given out again while it is fresh; **sealed**",
        "10 minutes",
    ),
    Row(
        ("flow/<hash of a step>", "flow/<hash of a step>/used"),
        "atomic",
        "that a consent page, a sign-in, a link or what it brought was answered",
        "10 to 20 minutes",
    ),
    Row(
        ("browser/<hash of the cookie>",),
        "atomic",
        "who is signed in there; **sealed with the cookie mixed in**",
        "`MCP_SIGN_IN_TTL_S`",
    ),
    Row(
        ("browsers/<user>/<hash of the cookie>",),
        "atomic",
        "nothing: the list of a user's browsers",
        "`MCP_SIGN_IN_TTL_S`",
    ),
    Row(
        ("signed-out/<user>",),
        "atomic",
        "a random mark: that the user has signed out everywhere",
        "`MCP_SIGN_IN_TTL_S` and a day",
    ),
    Row(
        ("consent/<user>/<client>/<address>/<what was asked>",),
        "atomic",
        "the scopes that the user granted",
        "30 days",
    ),
    Row(
        ("account/<user>",),
        "atomic",
        "the user's tokens at the upstream; **sealed** for that one provider",
        "180 days, renewed in use; a forgotten one 1 minute",
    ),
    Row(
        ("limit/<hash of what and whose>",),
        "atomic",
        "attempts of a network (IPv6 /48, IPv4 /24) and its parts in this and the last minute; fetches of one client's"
        " document",
        "2 minutes",
    ),
)
"""The records of authorization. `auth` spells its prefixes itself, each in one place."""
