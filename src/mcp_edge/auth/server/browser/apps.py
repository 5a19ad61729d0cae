"""/apps: the apps and the account that a user has connected, and how the user revokes them. It knows no token."""

from __future__ import annotations

from urllib.parse import urlsplit

from mcp_edge.audit import decided
from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.browser import arming, remembered_consent, sign_in
from mcp_edge.auth.server.browser.pages import form, redirect, send_page
from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import ConnectedApp
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import BadRequest
from mcp_edge.pages import again
from mcp_edge.pages import apps as web
from mcp_edge.protocol.request import Request
from mcp_edge.user import User

_NOTICES = {"revoked": "The app no longer has access.", "disconnected": "The account is disconnected."}


async def apps(server: AuthorizationServer, request: Request) -> None:
    """GET and POST /apps."""
    request.only("GET", "POST")
    answer = await form(server, request) if request.method == "POST" else None
    user = await server.browsers.user(request)
    if user is None:
        await redirect(request, sign_in.url(server, "/apps"))
    elif answer is None:
        await _send(server, request, user, notice=_NOTICES.get(Parameters.parse(request.query).one("told"), ""))
    elif answer.one("do") == again.AGAIN or arming.too_early(server, answer):
        await _send(server, request, user, notice=again.NOTHING_YET)
    else:
        await redirect(request, server.urls.at(await _do(server, request, user, answer)))


async def _do(server: AuthorizationServer, request: Request, user: User, answer: Parameters) -> str:
    """Do what a button says, and return the path to show afterwards."""
    action, address = answer.one("do"), server.attempts.address(request)
    match action:
        case "revoke":
            client = await _revoke(server, user, answer.one("app"))
            decided("apps revoke", "allowed", principal=user.principal, client=client, address=address)
            return "/apps?told=revoked"
        case "disconnect" if server.linked_accounts is not None:
            await server.linked_accounts.forget(user.principal)
            decided("apps disconnect", "allowed", principal=user.principal, address=address)
            return "/apps?told=disconnected"
        case "sign-out-everywhere":
            await server.grants.end_all(user.principal)
            await remembered_consent.forget(server, user.principal)
            if server.linked_accounts is not None:
                await server.linked_accounts.forget(user.principal)
            # Last, so that whoever is cut off before can try again.
            await server.browsers.sign_out_everywhere(request, user.principal)
            decided("sign-out everywhere", "allowed", principal=user.principal, address=address)
            return "/sign-in?return=%2Fapps"
        case _:
            raise BadRequest("This is no answer that the page offers.")


async def _revoke(server: AuthorizationServer, user: User, client_id: str) -> str:
    """End every grant of the user to a client, codes included, and forget the consent: the client's id, or empty when
    there was no grant."""
    if not client_id:
        return ""
    await remembered_consent.forget(server, user.principal, client_id)
    ended = await server.grants.end_client(user.principal, client_id)
    return client_id if ended else ""  # ended meanwhile, or somebody else's


async def _send(server: AuthorizationServer, request: Request, user: User, *, notice: str) -> None:
    scopes = await server.scopes()
    # An app that came back for more, or is used on two machines, has several grants; a user knows it as one app.
    apps: dict[str, list[ConnectedApp]] = {}
    for app in await server.grants.of(user.principal):
        apps.setdefault(app.client_id, []).append(app)
    page = web.page(
        web.Apps(
            action=f"{server.urls.base_path}/apps",
            sign_out=f"{server.urls.base_path}/sign-out",
            shown=arming.field(server),
            user_name=user.name or user.subject,
            apps=tuple(_app(scopes, grants) for grants in apps.values()),
            account=await _account(server, user),
            notice=notice,
        )
    )
    await send_page(server, request, page)


def _app(scopes: Scopes, grants: list[ConnectedApp]) -> web.App:
    latest = grants[0]
    host = urlsplit(latest.client_id).netloc if latest.client_id.startswith("https://") else ""
    granted = frozenset[str]().union(*(grant.scopes for grant in grants))
    # A scope that the server declares no longer allows nothing any more.
    may = tuple(scope.description for scope in scopes.all if scope.name in granted)
    places = ", ".join(sorted({redirect_uris.place(grant.redirect_uri) for grant in grants}))
    since = min(grant.created_at for grant in grants)
    return web.App(
        latest.client_id, latest.client_name, host or "registered here", places, may, since, latest.last_used_at
    )


async def _account(server: AuthorizationServer, user: User) -> str:
    if server.linked_accounts is None or not await server.linked_accounts.connected(user.principal):
        return ""
    return server.linked_accounts.provider.label
