"""Authorizations under way in a browser: the consent page, the sign-in, the page again, and the code.

Until the user has said yes, a flow travels in the page's form, sealed, and nothing is stored. While the user signs in,
and for the page after that, the flow is a sealed step in the store. In both forms it is bound to the browser's cookie,
lives for ten minutes and is used once, so that nobody finishes in one browser what was begun in another
(GHSA-rww4-4w9c-7733). It knows no provider's protocol.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError

from mcp_edge.audit import decided
from mcp_edge.auth.identity.provider import FormProvider
from mcp_edge.auth.server.browser import naming, pages, remembered_consent, sealed_steps
from mcp_edge.auth.server.browser.sealed_steps import LIFE_S
from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import Approval, AuthorizationRequest, Client, OAuthError
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import BadRequest, Forbidden
from mcp_edge.pages import error as error_page
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.signing import mint
from mcp_edge.user import User

CALLBACK = "/oauth/callback"
_IN_FORM, _AT_SIGN_IN, _SIGNED_IN = "flow-in-form", "flow-at-sign-in", "flow-signed-in"
_ELSEWHERE = "This was begun in another browser, or is no longer valid. Start again from your app."
_LATE = "This page is more than ten minutes old. Start again from your app."
_USED = "This was already answered. If your app still waits, start again from there."


@dataclass(frozen=True, slots=True)
class Flow:
    """An authorization under way, or a mere sign-in to our own pages (then `request` is None)."""

    expires_at: float
    id: str = field(default_factory=mint)
    request: AuthorizationRequest | None = None
    client_name: str = ""
    scopes: frozenset[str] = frozenset()
    """The scopes that the user has chosen; before that, the requested ones. The page offers no others."""
    shown_to: str = ""
    """Hash of the principal whom the consent page named; empty when nobody was signed in. `shown_at` is the page's time
    in epoch seconds."""
    shown_at: float = 0
    return_to: str = ""
    """The path of our own page to show after a mere sign-in."""
    secrets: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """`Departure.secrets` of the identity provider."""
    format: Literal[1] = 1


_FLOW = TypeAdapter(Flow)


def new(server: AuthorizationServer, **members: Any) -> Flow:
    """A flow that begins now."""
    return Flow(expires_at=server.platform.clock() + LIFE_S, **members)


def begin(
    server: AuthorizationServer,
    client: Client,
    requested: AuthorizationRequest,
    scopes: frozenset[str],
    shown_to: str = "",
) -> Flow:
    """An authorization that begins now."""
    name = naming.called(client, requested.redirect_uri)
    return new(server, request=requested, client_name=name, scopes=scopes, shown_to=shown_to)


def seal(server: AuthorizationServer, request: Request, flow: Flow) -> str:
    """The flow as the value of a hidden input, good for this browser alone."""
    binding = server.browsers.binding(request)
    sealed = server.ring.seal(_IN_FORM, _FLOW.dump_json(flow), context=binding)
    return base64.urlsafe_b64encode(sealed).decode()


def opened(server: AuthorizationServer, request: Request, sealed: str) -> Flow:
    """The flow that the consent page has sent back.

    Raises:
        Forbidden: the flow is from another browser, altered, or not sealed here.
        BadRequest: the flow is too old.
    """
    try:
        data = base64.b64decode(sealed.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Forbidden(_ELSEWHERE) from None
    return _checked(server, server.ring.open(_IN_FORM, data, context=server.browsers.bound(request)))


async def use(server: AuthorizationServer, flow: Flow) -> None:
    """Let the flow be answered once.

    Raises:
        BadRequest: it was answered before.
    """
    # It outlives the flow by a whole life, for instances whose clocks differ.
    if not await sealed_steps.use(server, sealed_steps.key_of(flow.id), ttl_s=2 * LIFE_S):
        raise BadRequest(_USED)


async def depart(server: AuthorizationServer, request: Request, flow: Flow) -> None:
    """Send the browser to where its user signs in; `arrival` goes on with the flow afterwards.

    The page that leads here is used up only once the provider can be reached: until then it can be sent again.

    Raises:
        BadRequest: the flow was answered before.
        UpstreamError: the identity provider cannot be reached.
    """
    state = sealed_steps.new_name()
    departure = None
    if not isinstance(server.provider, FormProvider):
        departure = await server.provider.depart(state=state, callback=server.urls.at(CALLBACK))
    await use(server, flow)
    # A sign-in is a step of its own, with its own time and its own single use.
    secrets = departure.secrets if departure else {}
    flow = replace(flow, id=mint(), expires_at=server.platform.clock() + LIFE_S, secrets=secrets)
    await _keep(server, request, _AT_SIGN_IN, state, flow)
    await pages.redirect(
        request, departure.url if departure else server.urls.at(f"/sign-in?{urlencode({'flow': state})}")
    )


async def ask(server: AuthorizationServer, request: Request, flow: Flow) -> None:
    """Send the browser, whose user has just signed in, to the page on which that user decides.

    The page has an address of its own, so that it can be loaded again: a sign-in cannot.
    """
    state = sealed_steps.new_name()
    await _keep(server, request, _SIGNED_IN, state, flow)
    await pages.redirect(request, server.urls.at(f"/consent?{urlencode({'flow': state})}"))


async def asked(server: AuthorizationServer, request: Request, state: str) -> Flow:
    """The flow with which `ask` has sent the browser here.

    Raises:
        Forbidden, BadRequest: as `peek`.
    """
    return await _kept(server, request, _SIGNED_IN, state)


async def peek(server: AuthorizationServer, request: Request, state: str) -> Flow:
    """The flow that waits for the sign-in of this `state`. The flow stays usable.

    Raises:
        Forbidden: the flow was begun in another browser, or is not stored (any more).
        BadRequest: the flow is too old.
    """
    return await _kept(server, request, _AT_SIGN_IN, state)


async def take(server: AuthorizationServer, request: Request, state: str) -> Flow:
    """The flow that waits for the sign-in of this `state`, once. /oauth/callback takes it before it asks the provider.

    Raises:
        Forbidden, BadRequest: as `peek`; or it was taken before.
    """
    flow = await peek(server, request, state)
    await use(server, flow)
    await sealed_steps.remove(server, state)
    return flow


async def client_of(server: AuthorizationServer, requested: AuthorizationRequest) -> Client:
    """The client as it is now. The client or its redirect URI may have been withdrawn while the user was deciding.

    Raises:
        BadRequest: nothing may be sent to it any more.
    """
    client = await server.clients.find(requested.client_id)
    if client is None or requested.client_kind not in ("", client.kind):
        raise BadRequest("This app is no longer known here. Start again from your app.")
    if not redirect_uris.allowed(requested.redirect_uri, client.redirect_uris, server.settings.redirect_schemes):
        raise BadRequest("The app has withdrawn the address that the answer goes to. Start again from your app.")
    return client


async def issue(
    server: AuthorizationServer,
    request: Request,
    flow: Flow,
    requested: AuthorizationRequest,
    user: User,
    *,
    decided_before: bool = False,
) -> None:
    """Send the code of a new grant to the client. A user's own limits (`User.scopes`) are those of the grant, too.

    Consent that was `decided_before` does not live longer by being used. The consent is stored before the code:
    revoking ends every listed grant, and a grant that is not listed yet finds the consent missing and ends itself.

    Raises:
        OAuthError: `access_denied`: the user has withdrawn the consent, or signed out everywhere, meanwhile.
    """
    allowed = flow.scopes
    if user.scopes is not None:
        allowed &= (await server.scopes()).closure(user.scopes)
    if not allowed:
        reason = "none of the chosen scopes is the user's to give"
        await refuse(server, request, requested, "access_denied", "You may not allow this.", reason=reason)
        return
    approval = Approval(requested, flow.client_name, user, allowed)
    if not decided_before:
        await remembered_consent.remember(server, user, requested, flow.scopes)
    try:
        code = await server.grants.approve(
            approval,
            since=server.browsers.since(request),
            stands=lambda: remembered_consent.stands(server, user, requested),
        )
    except OAuthError:
        await remembered_consent.forget(server, user.principal, requested.client_id)
        raise
    address = server.attempts.address(request)
    what = "remembered consent" if decided_before else "consent"
    decided(what, "allowed", principal=user.principal, client=requested.client_id, address=address)
    await pages.redirect(request, _with(server, requested.redirect_uri, {"code": code, "state": requested.state}))


async def refuse(
    server: AuthorizationServer,
    request: Request,
    requested: AuthorizationRequest,
    error: str,
    description: str,
    *,
    reason: str = "",
    ask_first: bool = False,
) -> None:
    """Send the client an error (RFC 6749 §4.1.2.1). With `ask_first`, for a client that nobody has trusted yet, the
    browser goes there only if the user follows a link."""
    address = server.attempts.address(request)
    decided(
        "authorize", "refused", client=requested.client_id, address=address, reason=reason or f"{error}: {description}"
    )
    # The characters that RFC 6749 §4.1.2.1 allows.
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in description)
    fields = {"error": error, "error_description": plain, "state": requested.state}
    url = _with(server, requested.redirect_uri, fields)
    if ask_first:
        page = error_page.way_back(description, url=url, host=redirect_uris.place(requested.redirect_uri))
        await pages.send_page(server, request, page, status=400, keeps_opener=True)
    else:
        await pages.redirect(request, url)


def _with(server: AuthorizationServer, redirect_uri: str, fields: dict[str, str]) -> str:
    """The redirect URI with `fields` and the issuer (RFC 9207) added to its query."""
    parameters = {**{name: value for name, value in fields.items() if value}, "iss": server.urls.issuer}
    between = "&" if "?" in redirect_uri else "?"
    if redirect_uri.endswith(("?", "&")):
        between = ""
    return f"{redirect_uri}{between}{urlencode(parameters, quote_via=quote)}"


async def _keep(server: AuthorizationServer, request: Request, purpose: str, state: str, flow: Flow) -> None:
    await sealed_steps.put(server, purpose, state, server.browsers.binding(request), _FLOW.dump_json(flow))


async def _kept(server: AuthorizationServer, request: Request, purpose: str, state: str) -> Flow:
    return _checked(server, await sealed_steps.get(server, purpose, state, server.browsers.bound(request)))


def _checked(server: AuthorizationServer, data: bytes | None) -> Flow:
    flow = _flow(data) if data is not None else None
    if flow is None:
        raise Forbidden(_ELSEWHERE)
    if flow.expires_at <= server.platform.clock():
        raise BadRequest(_LATE)
    return flow


def _flow(data: bytes) -> Flow | None:
    try:
        return _FLOW.validate_json(data)
    except ValidationError:  # sealed by a release whose format is another
        return None
