"""The consent page, and /consent: the page again after a sign-in (GET), and the user's answer (POST).

The page comes before the sign-in: nobody is sent to an identity provider for an app that the user has not agreed to
(MCP security best practices, Confused Deputy). It comes again after the sign-in: only a page that names its user may
lead to a code. It knows no token.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from mcp_edge.audit import decided
from mcp_edge.auth.identity.provider import FormProvider
from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.browser import arming, flows, naming
from mcp_edge.auth.server.browser.flows import Flow
from mcp_edge.auth.server.browser.pages import form, send_page
from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import AuthorizationRequest, Client
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import BadRequest
from mcp_edge.pages import again
from mcp_edge.pages import consent as web
from mcp_edge.pages.layout import source
from mcp_edge.protocol.request import Request
from mcp_edge.text.hashing import short_hash
from mcp_edge.user import User

ANOTHER_USER = "Who is signed in has changed since this page was shown. Please look again."
NOTHING_CHOSEN = "Choose at least one thing that the app may do, or deny."
SIGNED_IN = "You are signed in now. This app has not been allowed anything yet: allow it only if you began this."
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


async def must_sign_in(server: AuthorizationServer, user: User | None) -> bool:
    """Whether the identity provider is asked: nobody is signed in, or tools need the user's account there."""
    if user is None:
        return True
    if server.settings.upstream_account != "identity" or server.linked_accounts is None:
        return False
    return not isinstance(server.provider, FormProvider) and not await server.linked_accounts.connected(user.principal)


async def send_consent_page(
    server: AuthorizationServer,
    request: Request,
    client: Client,
    flow: Flow,
    requested: AuthorizationRequest,
    user: User | None,
    *,
    ticked: frozenset[str] | None = None,
    problem: str = "",
    notice: str = "",
) -> None:
    """Answer with the page that offers `flow.scopes`. Those in `ticked` are chosen, by default all. The user and the
    time are sealed into the page: only that user may answer it, and not at once (`arming`)."""
    scopes = await server.scopes()
    flow = replace(flow, shown_to=shown_to(user), shown_at=server.platform.clock())
    target = urlsplit(requested.redirect_uri)
    page = web.page(
        web.Consent(
            action=f"{server.urls.base_path}/consent",
            apps=f"{server.urls.base_path}/apps",
            flow=flows.seal(server, request, flow),
            client_name=flow.client_name,
            client_named=flow.client_name == client.name,
            client_kind=client.kind,
            client_site=client.id.partition("://")[2] if client.kind == "cimd" else "",
            client_uri=naming.home(client, requested.redirect_uri),
            redirect_host=redirect_uris.place(requested.redirect_uri),
            redirect_is_local=redirect_uris.is_private(requested.redirect_uri) or target.hostname in _LOOPBACK,
            resource=requested.resource,
            options=_options(scopes, flow.scopes, flow.scopes if ticked is None else ticked),
            offer_read_only=bool(_read_only(scopes, flow.scopes)) and not flow.scopes <= scopes.read_only,
            user_name=(user.name or user.subject) if user is not None else "",
            provider="" if isinstance(server.provider, FormProvider) else server.provider.label,
            problem=problem,
            notice=notice,
        )
    )
    await send_page(server, request, page, form_targets=_form_targets(server, requested), keeps_opener=True)


async def consent(server: AuthorizationServer, request: Request) -> None:
    """GET and POST /consent."""
    request.only("GET", "POST")
    if request.method == "GET":
        await _show_again(server, request)
        return
    answer = await form(server, request)
    flow = flows.opened(server, request, answer.one("flow"))
    requested = flow.request
    if requested is None:
        raise BadRequest("There is nothing to consent to.")
    choice = answer.one("choice")
    if choice == "deny":
        await flows.use(server, flow)
        await flows.refuse(server, request, requested, "access_denied", "The user denied the request.")
        return
    client = await flows.client_of(server, requested)
    user = await server.browsers.user(request)
    if choice == again.AGAIN or arming.early(server, flow.shown_at):
        await _show_as_it_was(server, request, client, flow, requested, user, answer)
        return
    if choice == "switch":
        await server.browsers.sign_out(request)
        decided("sign-out", "allowed", principal=user.principal if user else "", client=client.id)
        await send_consent_page(server, request, client, replace(flow, scopes=requested.scopes), requested, None)
        return
    scopes = _chosen(await server.scopes(), flow, answer, choice)
    if shown_to(user) != flow.shown_to:
        whole = replace(flow, scopes=requested.scopes)
        await send_consent_page(server, request, client, whole, requested, user, problem=ANOTHER_USER)
        return
    if not scopes:
        await send_consent_page(server, request, client, flow, requested, user, problem=NOTHING_CHOSEN)
        return
    flow = replace(flow, scopes=scopes)
    if user is None or await must_sign_in(server, user):
        await flows.depart(server, request, flow)
    else:
        await flows.use(server, flow)
        await flows.issue(server, request, flow, requested, user)


async def _show_as_it_was(
    server: AuthorizationServer,
    request: Request,
    client: Client,
    flow: Flow,
    requested: AuthorizationRequest,
    user: User | None,
    answer: Parameters,
) -> None:
    """Show the page again to a user who has not decided yet, with the same boxes ticked. The flow stays usable."""
    if shown_to(user) != flow.shown_to:
        flow = replace(flow, scopes=requested.scopes)
        await send_consent_page(server, request, client, flow, requested, user, problem=ANOTHER_USER)
        return
    ticked = frozenset(answer.all("scope"))
    await send_consent_page(server, request, client, flow, requested, user, ticked=ticked, notice=again.NOTHING_YET)


async def _show_again(server: AuthorizationServer, request: Request) -> None:
    """Show the page to a user who has just signed in."""
    flow = await flows.asked(server, request, Parameters.parse(request.query).one("flow"))
    requested = flow.request
    if requested is None:
        raise BadRequest("There is nothing to consent to.")
    client = await flows.client_of(server, requested)
    user = await server.browsers.user(request)
    notice = SIGNED_IN if user is not None and not flow.shown_to else ""
    problem = ANOTHER_USER if flow.shown_to not in ("", shown_to(user)) else ""
    await send_consent_page(server, request, client, flow, requested, user, problem=problem, notice=notice)


def _chosen(scopes: Scopes, flow: Flow, answer: Parameters, choice: str) -> frozenset[str]:
    """The scopes that the user has chosen, which the page has offered.

    Raises:
        BadRequest: no button of the page sends this.
    """
    chosen = frozenset(answer.all("scope"))
    if choice not in ("allow", "read_only") or not chosen <= flow.scopes:
        raise BadRequest("This is no answer that the page offers.")
    return _read_only(scopes, chosen) if choice == "read_only" else chosen


def _read_only(scopes: Scopes, names: frozenset[str]) -> frozenset[str]:
    """The read-only scopes among `names` and all that they imply."""
    return scopes.closure(names) & scopes.read_only


def _options(scopes: Scopes, names: frozenset[str], ticked: frozenset[str]) -> tuple[web.Option, ...]:
    """The scopes asked for, in the order of their declaration."""
    return tuple(
        web.Option(
            scope.name,
            scope.description,
            tuple(
                scopes.by_name[name].description
                for name in sorted(scopes.closure(scope.implies))
                if name in scopes.by_name
            ),
            ticked=scope.name in ticked,
        )
        for scope in scopes.all
        if scope.name in names
    )


def _form_targets(server: AuthorizationServer, requested: AuthorizationRequest) -> list[str]:
    """Where the form's POST may lead to: Chrome applies `form-action` to every redirect that follows it.

    A provider may send the browser on to another one (federated sign-in), whose origin nobody here can know.
    """
    targets = [source(requested.redirect_uri)]
    if not isinstance(server.provider, FormProvider):
        targets.append("https:")
        if (issuer := server.settings.identity_issuer or "").startswith("http:"):
            targets.append(source(issuer))
    return targets


def shown_to(user: User | None) -> str:
    """`Flow.shown_to` of a page that names this user."""
    return "" if user is None else short_hash(user.principal)
