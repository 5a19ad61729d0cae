"""/sign-in for providers that ask on a page of ours, and for users who come to our pages; /sign-out."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from mcp_edge.audit import decided
from mcp_edge.auth.identity.provider import FormProvider, Identity, SignInRefused
from mcp_edge.auth.server.browser import arrival, flows
from mcp_edge.auth.server.browser.flows import Flow
from mcp_edge.auth.server.browser.pages import form, redirect, send_page
from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import BadRequest
from mcp_edge.pages import sign_in as web
from mcp_edge.pages.layout import source
from mcp_edge.protocol.guards import OWN_SITE
from mcp_edge.protocol.request import Request

_RETURNS = re.compile(r"/(apps|connect/[A-Za-z0-9_-]{1,128})")
"""Where a sign-in may lead back to: pages of ours that need a user."""


def url(server: AuthorizationServer, return_to: str) -> str:
    """The URL of the sign-in that leads back to `return_to`, a path of one of our pages."""
    return server.urls.at(f"/sign-in?{urlencode({'return': return_to})}")


async def sign_in(server: AuthorizationServer, request: Request) -> None:
    """GET and POST /sign-in."""
    request.only("GET", "POST")
    # A guess is a POST; merely looking at the page counts for less.
    await server.attempts.check(request, "sign-in" if request.method == "POST" else "apps")
    if request.method == "GET":
        parameters = Parameters.parse(request.query)
        if parameters.one("flow"):
            await flows.peek(server, request, parameters.one("flow"))
        elif await server.browsers.user(request) is not None:
            await redirect(request, server.urls.at(_return(parameters)))
            return
        await _send(server, request, parameters)
        return
    answer = await form(server, request)
    if isinstance(server.provider, FormProvider):
        await _check(server, request, server.provider, answer)
    else:
        await flows.depart(server, request, flows.new(server, return_to=_return(answer)))


async def sign_out(server: AuthorizationServer, request: Request) -> None:
    """POST /sign-out: this browser only."""
    request.only("POST")
    await form(server, request)
    user = await server.browsers.user(request)
    await server.browsers.sign_out(request)
    if user is not None:
        decided("sign-out", "allowed", principal=user.principal, address=server.attempts.address(request))
    await redirect(request, url(server, "/apps"))


async def _check(server: AuthorizationServer, request: Request, provider: FormProvider, answer: Parameters) -> None:
    """Sign in the user whom the value names. Only the log says what was wrong with a value."""
    state = answer.one("flow")
    flow = await flows.peek(server, request, state) if state else None
    value = answer.one("value")
    try:
        if len(value) > web.MAX_CHARS:
            raise BadRequest(f"That is over {web.MAX_CHARS} characters.")
        user = await provider.check(value)
    except SignInRefused as e:
        decided("sign-in", "refused", address=server.attempts.address(request), reason=e.reason)
        await _send(
            server, request, answer, problem=f"Nobody can sign in with this. Check the {provider.label.lower()}."
        )
        return
    if flow is not None:
        flow = await flows.take(server, request, state)
    await arrival.finish(server, request, flow or flows.new(server, return_to=_return(answer)), Identity(user))


async def _send(server: AuthorizationServer, request: Request, parameters: Parameters, *, problem: str = "") -> None:
    state, provider = parameters.one("flow"), server.provider
    flow = await flows.peek(server, request, state) if state else None
    here = isinstance(provider, FormProvider)
    page = web.page(
        web.SignIn(
            action=f"{server.urls.base_path}/sign-in",
            hidden=(("flow", state),) if state else (("return", _return(parameters)),),
            field=provider.label if here else "",
            secret=provider.secret if here else False,
            provider="" if here else provider.label,
            purpose=await _purpose(server, flow) if flow else None,
            problem=problem,
            # A user whom another site has sent here may still type there, and Enter would sign that user in.
            takes_focus=request.raw.get(b"sec-fetch-site") in OWN_SITE,
        )
    )
    await send_page(
        server,
        request,
        page,
        status=403 if problem else 200,
        form_targets=_form_targets(server),
        keeps_opener=bool(flow),
    )


async def _purpose(server: AuthorizationServer, flow: Flow) -> web.Purpose | None:
    if flow.request is None:
        return None
    scopes = await server.scopes()
    may = tuple(scope.description for scope in scopes.all if scope.name in flow.scopes)
    return web.Purpose(flow.client_name, redirect_uris.place(flow.request.redirect_uri), may)


def _form_targets(server: AuthorizationServer) -> list[str]:
    """Where the form's POST may lead to: to the provider; one that is answered here leads to pages of ours alone."""
    if isinstance(server.provider, FormProvider):
        return []
    issuer = server.settings.identity_issuer or ""
    return ["https:", *([source(issuer)] if issuer.startswith("http:") else [])]


def _return(parameters: Parameters) -> str:
    """The path to show after the sign-in. Anything but a page of ours becomes the page of connected apps."""
    path = parameters.one("return")
    return path if _RETURNS.fullmatch(path) else "/apps"
