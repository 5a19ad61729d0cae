"""The browsers at our pages: their two cookies, their users, and the origin of their forms. It knows no page.

Each cookie holds 256 random bits. The binding cookie names a browser before anybody signs in, so that nobody finishes
in one browser what was begun in another. The session cookie is new at each sign-in, so that no earlier value leads to
the user (session fixation). The store has only hashes of both. The records are in the `AtomicStore`: a sign-out holds
at every instance at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from mcp_edge.auth.server import cookies
from mcp_edge.auth.server.grants.sign_outs import SignOuts
from mcp_edge.errors import Forbidden, UnsupportedMedia
from mcp_edge.platform import Platform
from mcp_edge.protocol.guards import OWN_SITE
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.signing import mint
from mcp_edge.protocol.urls import Urls
from mcp_edge.text.hashing import long_hash, short_hash
from mcp_edge.user import User

_PURPOSE = "browser"
_BOUND = "mcp-edge.browser"
"""The member of the ASGI scope that keeps a new binding, so that one answer sets one."""
_SINCE = "mcp-edge.signed_in_since"
"""The member of the ASGI scope that keeps what `since` answers."""
_AHEAD = (b"sec-purpose", b"purpose", b"x-moz", b"x-purpose")
"""Headers by which browsers say that they fetch a page before their user goes there."""


class Browsers:
    """Recognizes browsers by their cookies, signs their users in and out, and refuses what other sites' pages send."""

    def __init__(self, platform: Platform, ring: KeyRing, urls: Urls, admits: Callable[[User], bool]) -> None:
        """`admits` says whether what once let a user in is still there (`identity.Provider`)."""
        self._admits = admits
        self._platform = platform
        self._store = platform.atomics
        self._sign_outs = SignOuts(platform)
        self._ring = ring
        self._urls = urls
        # Cookies do not tell ports apart (RFC 6265 §8.5), and on loopback each server has one of its own.
        port = urls.origin.rpartition(":")[2]
        kind = "__Host-{}" if urls.secure else f"{{}}-{port}" if port.isdigit() else "{}"
        self._binding = kind.format("mcp-browser").encode()
        self._session = kind.format("mcp-session").encode()

    def binding(self, request: Request) -> str:
        """The hash of this browser's binding cookie, for a step that begins. The answer sets the cookie if the browser
        has none."""
        bound = self.bound(request)
        if not bound:
            value = cookies.new_value()
            self._set(request, self._binding, value)
            request.scope[_BOUND] = bound = long_hash(value)
        return bound

    def bound(self, request: Request) -> str:
        """The hash of this browser's binding cookie, for a step that was begun before; empty when the browser has none.

        The answer sets no cookie: browsers add none to a request from elsewhere, which must not replace the one there
        is.
        """
        value = cookies.value(request.pairs, self._binding)
        return long_hash(value) if value is not None else request.scope.get(_BOUND, "")

    async def user(self, request: Request) -> User | None:
        """The user who is signed in at this browser; None for nobody. It costs one read of the store."""
        value = cookies.value(request.pairs, self._session)
        if value is None:
            return None
        key = f"browser/{long_hash(value)}"
        entry = await self._store.get(key)
        if entry is None:
            return None
        opened = self._ring.open(_PURPOSE, entry.value, context=self._context(key), secret=value.encode())
        found = None if opened is None else _read(opened)
        if found is None or not self._admits(found[0]):
            return None
        user, request.scope[_SINCE] = found
        return user

    def since(self, request: Request) -> str:
        """The latest mark of `SignOuts` at the sign-in of the user whom `user` or `sign_in` has found for this
        request."""
        return request.scope[_SINCE]

    async def left_since(self, request: Request, user: User) -> bool:
        """Whether the user has signed out everywhere since signing in here."""
        return await self._sign_outs.since(user.principal, self.since(request))

    async def sign_in(self, request: Request, user: User) -> None:
        """Remember the user in this browser under a new cookie. The old cookie leads nowhere any more.

        Raises:
            Forbidden: the user has signed out everywhere meanwhile.
        """
        await self._end(request)
        since = await self._sign_outs.latest(user.principal)
        ttl_s = self._platform.settings.sign_in_ttl_s
        value = cookies.new_value()
        key = f"browser/{long_hash(value)}"
        sealed = self._ring.seal(_PURPOSE, _document(user, since), context=self._context(key), secret=value.encode())
        # The index comes first: what is not in it could not be signed out from elsewhere.
        index = f"{_index(user.principal)}{long_hash(value)}"
        await self._store.create(index, b"1", nonce=mint(), ttl_s=ttl_s)
        await self._store.create(key, sealed, nonce=mint(), ttl_s=ttl_s)
        if await self._sign_outs.since(user.principal, since):
            await self._store.delete(key)
            await self._store.delete(index)
            raise Forbidden("You have signed out everywhere meanwhile. Sign in again.")
        request.scope[_SINCE] = since
        self._set(request, self._session, value, max_age_s=ttl_s)

    async def sign_out(self, request: Request) -> None:
        """Forget the user in this browser."""
        await self._end(request)
        self._set(request, self._session, "", max_age_s=0)

    async def sign_out_everywhere(self, request: Request, principal: str) -> None:
        """Forget the user in every browser. This browser comes last, so that a user who is cut off can try again."""
        await self._sign_outs.record(principal)
        prefix, value = _index(principal), cookies.value(request.pairs, self._session)
        own = "" if value is None else prefix + long_hash(value)
        after = ""
        while entries := await self._store.read(prefix, after=after):
            for entry in entries:
                if entry.key != own:
                    await self._store.delete(f"browser/{entry.key.removeprefix(prefix)}")
                    await self._store.delete(entry.key)
            after = entries[-1].key
        await self.sign_out(request)

    def check_visit(self, request: Request) -> None:
        """Refuse a request to a page unless its user may have asked for it: by a form of ours, or by going there.

        Another site's page may lead its user here in a top-level window. Whatever else it can have a browser do (load,
        fetch, frame, prefetch) happens without the user, and would count against that user.

        Raises:
            Forbidden: another site's page asks, and not by a navigation.
            UnsupportedMedia: the POST is no form.
        """
        if request.method == "POST":
            self.check_form(request)
        elif self._is_foreign(request) and not _navigates(request):
            raise Forbidden("Pages of other sites may lead here by a link, and in no other way.")

    def check_program(self, request: Request) -> None:
        """Refuse another site's page at an endpoint for programs. Programs send neither Origin nor Sec-Fetch-Site.

        Raises:
            Forbidden: a page of another site asks.
        """
        if self._is_foreign(request):
            raise Forbidden("Pages of other sites may not ask for this.")

    def _is_foreign(self, request: Request) -> bool:
        """Whether a browser says that another site's page asks; one of a sibling host is another site's."""
        origin, site = request.raw.get(b"origin"), request.raw.get(b"sec-fetch-site")
        return (origin is not None and origin.lower() != self._urls.origin.lower().encode()) or (
            site is not None and site not in OWN_SITE
        )

    def check_form(self, request: Request) -> None:
        """Refuse a POST that did not come from a page of ours.

        Every browser of this decade sends Origin with a form. A POST with neither Origin nor Sec-Fetch-Site is refused,
        since nothing else tells our page from another's. Cookies are SameSite=Lax besides.

        Raises:
            Forbidden: the form is another site's.
            UnsupportedMedia: the POST is no form.
        """
        kind = request.raw.get(b"content-type", b"").split(b";", 1)[0].strip(b" \t").lower()
        if kind != b"application/x-www-form-urlencoded":
            raise UnsupportedMedia("This address takes a form, application/x-www-form-urlencoded.")
        origin, site = request.raw.get(b"origin"), request.raw.get(b"sec-fetch-site")
        ours = self._urls.origin.lower().encode()
        if (
            (origin is None and site is None)
            or (origin is not None and origin.lower() != ours)
            or (site is not None and site != b"same-origin")
        ):
            raise Forbidden(f"This form was not sent from a page of {self._urls.origin}.")

    def _context(self, key: str) -> str:
        """What a record is sealed for. A sign-in counts for one identity provider: a user of `dev` is none of
        GitHub's."""
        return f"{self._platform.settings.identity}|{key}"

    async def _end(self, request: Request) -> None:
        user = await self.user(request)
        value = cookies.value(request.pairs, self._session)
        if user is not None and value is not None:
            await self._store.delete(f"browser/{long_hash(value)}")
            await self._store.delete(f"{_index(user.principal)}{long_hash(value)}")

    def _set(self, request: Request, name: bytes, value: str, *, max_age_s: int | None = None) -> None:
        parts = [f"{name.decode()}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        if self._urls.secure:
            parts.append("Secure")
        if max_age_s is not None:
            parts.append(f"Max-Age={max_age_s}")
        request.extra.append((b"set-cookie", "; ".join(parts).encode()))


def _navigates(request: Request) -> bool:
    """Whether a window of its own goes to a page (Fetch Metadata §2.1, §2.2): in a frame the destination is another.

    Browsers that tell of the mode have not always told of the destination.
    """
    raw = request.raw
    return (
        raw.get(b"sec-fetch-mode") == b"navigate"
        and raw.get(b"sec-fetch-dest", b"document") == b"document"
        and not any(name in raw for name in _AHEAD)
    )


def _index(principal: str) -> str:
    return f"browsers/{short_hash(principal)}/"


def _document(user: User, since: str) -> bytes:
    scopes = None if user.scopes is None else sorted(user.scopes)
    return json.dumps(
        {
            "v": 1,
            "issuer": user.issuer,
            "tenant": user.tenant,
            "subject": user.subject,
            "name": user.name,
            "scopes": scopes,
            "admitted": user.admitted,
            "since": since,
        }
    ).encode()


def _read(document: bytes) -> tuple[User, str] | None:
    """The user, and what `since` says."""
    record = json.loads(document)
    if record["v"] != 1:
        return None
    user = User(
        record["issuer"],
        record["subject"],
        record["tenant"],
        record["name"],
        None if record["scopes"] is None else frozenset(record["scopes"]),
        admitted=record["admitted"],
    )
    return user, record["since"]
