"""/connect/<handle>: the page on which a user links an account that a tool needs (URL-mode elicitation).

The link opens nothing by itself. Whoever opens it must be signed in here as the user for whom the link was made, so
that nobody links an account to somebody else's name (MCP 2026-07-28 elicitation, Phishing). The provider's answer is
bound to the browser that left, as at a sign-in. It comes to an address of its own, so that it is never mistaken for the
identity provider's (mix-up, RFC 9700 §4.4.2.2). The account is kept once its owner has confirmed the user's name after
coming back: until then only cookies show that the browser which came back is the one that left. It knows no tool.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from mcp_edge.audit import decided
from mcp_edge.auth.identity.linked_accounts import LinkedAccounts
from mcp_edge.auth.identity.provider import Identity, SignInRefused, TokenSet
from mcp_edge.auth.server.browser import arming, pages, sealed_steps, sign_in
from mcp_edge.auth.server.browser.callback import returned
from mcp_edge.auth.server.browser.sealed_steps import LIFE_S
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import BadRequest, Forbidden, NotFound, UpstreamError
from mcp_edge.pages import again
from mcp_edge.pages import connect as web
from mcp_edge.pages.layout import source
from mcp_edge.protocol.request import Request
from mcp_edge.records.upsert import upsert
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User

PATH = "/connect/"
CALLBACK = "/oauth/connected"

_INVITED, _AWAY, _BROUGHT = "connect-invited", "connect-away", "connect-brought"
_UNKNOWN = "This link is no longer valid. Ask your app again for what needed it."
_ANOTHER = "This link was made for another user of this server. Sign in as that user, or close this page."
_ELSEWHERE = "This was begun in another browser or by another user, or is no longer valid. Ask your app again."


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is stored under a handle or a `state`. `expires_at` is epoch seconds."""

    principal: str
    expires_at: float
    secrets: dict[str, str]


async def invite(server: AuthorizationServer, principal: str) -> str:
    """The URL at which this user, and nobody else, can link an account for the next five to ten minutes.

    The URL stays the same for five minutes unless it was used, so that repeated invitations store nothing.
    """
    handle = await _last_invitation(server, principal)
    if handle is None:
        handle = sealed_steps.new_name()
        await _keep(server, _INVITED, handle, "", principal, {})
        sealed = server.ring.seal(_INVITED, handle.encode(), context=_last_key(principal))
        await upsert(server.platform.atomics, _last_key(principal), lambda _: sealed, ttl_s=LIFE_S)
    return server.urls.at(PATH + handle)


async def _last_invitation(server: AuthorizationServer, principal: str) -> str | None:
    """The handle of this user's invitation, if it can be used for a while yet."""
    key = _last_key(principal)
    entry = await server.platform.atomics.get(key)
    opened = entry and server.ring.open(_INVITED, entry.value, context=key)
    if not opened:
        return None
    invited = await _kept(server, _INVITED, opened.decode(), "")
    fresh = invited is not None and invited.expires_at > server.platform.clock() + LIFE_S / 2
    return opened.decode() if fresh else None


def _last_key(principal: str) -> str:
    return f"invited/{short_hash(principal)}"


async def connect(server: AuthorizationServer, request: Request) -> None:
    """GET and POST /connect/<handle>."""
    request.only("GET", "POST")
    linked_accounts = _linked_accounts(server)
    handle = request.path.rpartition("/")[2]
    invited = await _kept(server, _INVITED, handle, "")
    if invited is None:
        raise NotFound(_UNKNOWN)
    user = await server.browsers.user(request)
    if user is None:
        await pages.redirect(request, sign_in.url(server, PATH + handle))
        return
    if user.principal != invited.principal:
        raise Forbidden(_ANOTHER)
    if request.method != "POST":
        await _show(server, request, linked_accounts, handle, user)
    elif _looks_again(server, await pages.form(server, request)):
        await _show(server, request, linked_accounts, handle, user, notice=again.NOTHING_YET)
    else:
        await _depart(server, request, linked_accounts, handle, user)


async def connected(server: AuthorizationServer, request: Request) -> None:
    """GET /oauth/connected: the browser is back from the provider. POST: what its user makes of that.

    Raises:
        Forbidden: another user or browser came back.
        SignInRefused: the provider or its user denied.
        UpstreamError: the provider cannot be reached.
    """
    if request.method == "POST":
        await _answered(server, request)
        return
    state, parameters = returned(request)
    linked_accounts = _linked_accounts(server)
    user, away = await _begun_here(server, request, _AWAY, state)
    await _use(server, state)
    provider = linked_accounts.provider
    try:
        identity = await provider.arrive(parameters, away.secrets, callback=server.urls.at(CALLBACK))
    except (SignInRefused, UpstreamError) as e:
        _decided(server, request, user, "refused", e.reason if isinstance(e, SignInRefused) else str(e))
        raise
    await _ask(server, request, linked_accounts, user, identity)


async def _ask(
    server: AuthorizationServer, request: Request, linked_accounts: LinkedAccounts, user: User, identity: Identity
) -> None:
    """Show whose account it is, and for which user it would be kept. The page has the tokens' handle, not the
    tokens."""
    assert identity.tokens is not None  # every provider that a browser is sent to has them
    handle, account = sealed_steps.new_name(), identity.user.name or identity.user.subject
    brought = {"account": account, "tokens": json.dumps(asdict(identity.tokens))}
    await _keep(server, _BROUGHT, handle, server.browsers.bound(request), user.principal, brought)
    await _show_brought(server, request, linked_accounts, user, handle, account)


async def _show_brought(
    server: AuthorizationServer,
    request: Request,
    linked_accounts: LinkedAccounts,
    user: User,
    handle: str,
    account: str,
    *,
    notice: str = "",
) -> None:
    page = web.arrived(
        provider=linked_accounts.provider.label,
        account=account,
        server=server.urls.issuer,
        user_name=user.name or user.subject,
        action=f"{server.urls.base_path}{CALLBACK}",
        handle=handle,
        shown=arming.field(server),
        notice=notice,
    )
    await pages.send_page(server, request, page)


async def _answered(server: AuthorizationServer, request: Request) -> None:
    """Keep the account, or forget it, as its owner answers."""
    answer = await pages.form(server, request)
    linked_accounts = _linked_accounts(server)
    handle, choice = answer.one("handle"), answer.one("choice")
    if choice not in ("connect", "leave", again.AGAIN):
        raise BadRequest("This is no answer that the page offers.")
    user, brought = await _begun_here(server, request, _BROUGHT, handle)
    provider, account = linked_accounts.provider.label, brought.secrets["account"]
    if choice != "leave" and _looks_again(server, answer):
        await _show_brought(server, request, linked_accounts, user, handle, account, notice=again.NOTHING_YET)
        return
    await _use(server, handle)
    if choice == "leave":
        _decided(server, request, user, "refused", "its user did not want it to be kept")
        await pages.send_page(server, request, web.left(provider=provider, account=account))
        return
    tokens = TokenSet(**json.loads(brought.secrets["tokens"]))
    await linked_accounts.save(user.principal, tokens)
    if await server.browsers.left_since(request, user):
        await linked_accounts.forget(user.principal, refused=tokens.access_token)
        raise Forbidden(_ELSEWHERE)
    _decided(server, request, user, "allowed")
    await pages.send_page(server, request, web.done(provider=provider, account=account))


def _looks_again(server: AuthorizationServer, answer: Parameters) -> bool:
    """Whether the page is shown again, because its form says so or comes too early."""
    return answer.one("choice") == again.AGAIN or arming.too_early(server, answer)


async def _begun_here(server: AuthorizationServer, request: Request, purpose: str, name: str) -> tuple[User, _Kept]:
    """Who is signed in, and what was kept under `name` for that user in this browser.

    Raises:
        Forbidden: nothing was.
    """
    kept = await _kept(server, purpose, name, server.browsers.bound(request))
    user = await server.browsers.user(request)
    if kept is None or user is None or user.principal != kept.principal:
        raise Forbidden(_ELSEWHERE)
    return user, kept


async def _show(
    server: AuthorizationServer,
    request: Request,
    linked_accounts: LinkedAccounts,
    handle: str,
    user: User,
    *,
    notice: str = "",
) -> None:
    base = server.urls.base_path
    page = web.page(
        provider=linked_accounts.provider.label,
        server=server.urls.issuer,
        user_name=user.name or user.subject,
        action=f"{base}{PATH}{handle}",
        apps=f"{base}/apps",
        replaces=await linked_accounts.connected(user.principal),
        shown=arming.field(server),
        notice=notice,
    )
    issuer = (server.settings.connect_issuer or "") if server.settings.upstream_account == "connect" else ""
    targets = ["https:", *([source(issuer)] if issuer.startswith("http:") else [])]
    await pages.send_page(server, request, page, form_targets=targets)


async def _depart(
    server: AuthorizationServer, request: Request, linked_accounts: LinkedAccounts, handle: str, user: User
) -> None:
    """Send the browser to the provider. The link is used up only once that is possible."""
    state = sealed_steps.new_name()
    departure = await linked_accounts.provider.depart(state=state, callback=server.urls.at(CALLBACK))
    await _use(server, handle)
    await _keep(server, _AWAY, state, server.browsers.binding(request), user.principal, departure.secrets)
    await pages.redirect(request, departure.url)


def _linked_accounts(server: AuthorizationServer) -> LinkedAccounts:
    if server.linked_accounts is None:
        raise NotFound("No account can be connected at this server.")
    return server.linked_accounts


def _decided(server: AuthorizationServer, request: Request, user: User, outcome: Any, reason: str = "") -> None:
    address = server.attempts.address(request)
    decided("connect", outcome, principal=user.principal, address=address, reason=reason)


async def _keep(
    server: AuthorizationServer, purpose: str, name: str, binding: str, principal: str, secrets: dict[str, str]
) -> None:
    """Store what belongs to a handle or a `state`, for `LIFE_S` seconds."""
    record = {"v": 1, "principal": principal, "expires_at": server.platform.clock() + LIFE_S, "secrets": secrets}
    await sealed_steps.put(server, purpose, name, binding, json.dumps(record).encode())


async def _kept(server: AuthorizationServer, purpose: str, name: str, binding: str) -> _Kept | None:
    """What is stored for this purpose and browser; None when it is too old or was used."""
    opened = await sealed_steps.get(server, purpose, name, binding)
    if opened is None:
        return None
    record = json.loads(opened)
    if record.pop("v") != 1 or record["expires_at"] <= server.platform.clock():
        return None
    return _Kept(**record)


async def _use(server: AuthorizationServer, name: str) -> None:
    """Use up a handle or a `state`.

    Raises:
        BadRequest: it was used before.
    """
    if not await sealed_steps.use(server, f"{sealed_steps.key_of(name)}/used", ttl_s=LIFE_S):
        raise BadRequest("This was already answered. Ask your app again if it still waits.")
    await sealed_steps.remove(server, name)
